"""A database that is not the one that paid before: what it calls owed may have been paid, so it pays nothing until told to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devstack.postgres import _binary, _environment
from shared.db.service import Database
from shared.lightning.model import PayoutState
from tests.integration.payouts.till import Till

OTHER = {
    "another cluster": "UPDATE database_identity SET system_identifier = system_identifier - 1",
    "another timeline": "UPDATE database_identity SET timeline = timeline + 1",
    "another database": "UPDATE database_identity SET database_oid = database_oid + 1",
    "tables made anew": "UPDATE database_identity SET table_oid = table_oid + 1",
}


def accept(till: Till) -> None:
    with till.container.database.transaction() as tx:
        till.container.payouts.accept_database(tx)


def are_held(till: Till) -> bool:
    with till.container.database.transaction() as tx:
        return till.container.payouts.are_held(tx)


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER.keys())
def test_nothing_is_sent_for_the_first_time_until_the_database_is_accepted(till: Till, change: str) -> None:
    payout = till.claim(till.owe(), till.invoice())
    assert till.run(change) == 1
    for _ in range(3):
        assert till.pay(payout).state is PayoutState.INTENDED
    step = till.step()
    assert (step["state"], step["attempts"]) == ("queued", 0)
    assert 50 < step["waits_s"] <= 60
    assert till.received_msat() == 0
    accept(till)
    assert till.pay(payout).state is PayoutState.PAID


def test_what_was_sent_before_is_followed_in_any_database(till: Till) -> None:
    payout = till.claim(till.owe(), till.invoice())
    till.nodes.fault("lnd", "SendPaymentV2", "drop_after_settle")
    assert till.pay(payout).state is PayoutState.UNKNOWN
    till.run(OTHER["another database"])
    assert till.pay(payout).state is PayoutState.PAID


def test_a_database_that_changes_between_two_looks_sends_nothing(till: Till) -> None:
    """The look that counts is in the transaction that announces the hand-over."""
    payout = till.claim(till.owe(), till.invoice())
    till.run(
        "CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN UPDATE database_identity SET timeline = timeline + 1; RETURN NEW; END'"
    )
    till.run(
        "CREATE TRIGGER elsewhere AFTER UPDATE OF lease_until ON steps"
        " FOR EACH ROW WHEN (OLD.state = 'running') EXECUTE FUNCTION elsewhere()"
    )
    assert till.pay(payout).state is PayoutState.INTENDED
    till.run("DROP TRIGGER elsewhere ON steps")
    accept(till)
    assert till.pay(payout).state is PayoutState.PAID


@pytest.mark.parametrize("over_the_old_one", [False, True], ids=["beside it", "over it"])
def test_a_dump_that_is_restored_is_another_database(till: Till, tmp_path: Path, over_the_old_one: bool) -> None:
    assert not are_held(till)
    dump = tmp_path / "dump"
    run("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={till.url}")
    url = till.url if over_the_old_one else f"{till.url}_restored"
    if not over_the_old_one:
        run("createdb", f"--maintenance-db={till.url}", url.rpartition("/")[2])
    run("pg_restore", "--exit-on-error", "--no-owner", "--clean", "--if-exists", f"--dbname={url}", str(dump))
    restored = Database(url, pool_size=1, application_name="test")
    with restored.transaction() as tx:
        assert till.container.payouts.are_held(tx)
        till.container.payouts.accept_database(tx)
        assert not till.container.payouts.are_held(tx)
    restored.close()


def run(program: str, *words: str) -> None:
    """Run one of PostgreSQL's programs."""
    done = subprocess.run([str(_binary(program)), *words], env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
