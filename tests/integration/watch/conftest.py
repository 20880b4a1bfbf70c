"""A migrated database for each test, and the product's parts on it: what is watched here is broken behind its back."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from config.settings import Settings
from shared.bootstrap import Container, Role, build
from tests.integration.work.conftest import (  # noqa: F401 - fixtures are found by their names
    cluster,
    database,
    make_database,
    make_work,
    notary,
    nudges,
    url,
    work,
)
from tests.integration.work.notary import ORIGIN

TOKEN = "scrape-me"
NOWHERE = "127.0.0.1:9"


def settings_on(database_url: str) -> Settings:
    """Settings whose database is real; nothing else is ever asked."""
    return Settings.load(
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": f"redis://{NOWHERE}/0",
            "SECRET_KEY": "03" * 32,
            "LND_GRPC": NOWHERE,
            "LND_TLS_CERT": "-----BEGIN CERTIFICATE-----",
            "LND_MACAROON_INVOICES": "00",
            "OPENAI_BASE_URL": f"http://{NOWHERE}/v1",
            "EVAL_MODEL": "some",
            "WORK_MODEL": "some",
            "LOG_ORIGIN": ORIGIN,
            "RECEIPT_SIGNING_KEY": "01" * 32,
            "LOG_SIGNING_KEY": "02" * 32,
            "WITNESS_URL": f"http://{NOWHERE}",
            "FLOWER_USER": "lucid",
            "FLOWER_PASSWORD": "not-a-secret",
            "METRICS_TOKEN": TOKEN,
        }
    )


@pytest.fixture
def container(url: str) -> Iterator[Container]:  # noqa: F811 - the fixture
    """The product on the test's database."""
    built = build(settings_on(url), Role.WEB)
    yield built
    built.database.close()


AN_OPEN_PAYOUT = """
INSERT INTO payouts (owner_kind, owner_id, state, payment_request, payment_hash, amount_msat, fee_limit_msat, expires_at)
VALUES ('job', 1, 'unknown', 'lnbcrt1', sha256('one'), 20000, 1000, now() + interval '1 day')
"""


class Vandal:
    """Rewrites rows that nothing in the product could: as the database's owner, with the guards off."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)

    def run(self, statement: str) -> None:
        """Run one statement with every trigger off, constraints at commit among them."""
        with self._connection.transaction():
            self._connection.execute("SET LOCAL session_replication_role = replica")
            touched = self._connection.execute(statement.encode()).rowcount
        assert touched, f"nothing was touched by {statement}"

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@pytest.fixture
def vandal(url: str) -> Iterator[Vandal]:  # noqa: F811 - the fixture
    """Somebody with the database's password and bad intentions."""
    made = Vandal(url)
    yield made
    made.close()
