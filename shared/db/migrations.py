"""Forward-only, numbered, checksummed SQL migrations under an advisory lock. A start asks `require_current`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import psycopg

from shared.kernel.errors import IntegrityFault

_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_LOCK = 7261_0001
FOLDER = Path(__file__).resolve().parents[2] / "migrations"


class SchemaMismatch(IntegrityFault):
    """The database's schema is not the one this code was written for."""

    code = "schema_mismatch"


@dataclass(frozen=True)
class Migration:
    """One file of the folder. `checksum` is the SHA-256 of its bytes, in hex."""

    version: int
    name: str
    sql: str
    checksum: str


def available(folder: Path = FOLDER) -> list[Migration]:
    """Return the folder's migrations in order. Raises `SchemaMismatch` where numbers repeat or leave a gap."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.match(path.name)
        if match is None:
            raise SchemaMismatch(f"{path.name} is not named NNNN_words.sql")
        content = path.read_bytes()
        found.append(Migration(int(match[1]), path.name, content.decode(), hashlib.sha256(content).hexdigest()))
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise SchemaMismatch("migration numbers must run from 0001 without gap or repetition")
    return found


def migrate(url: str, folder: Path = FOLDER) -> list[str]:
    """Apply what is missing, each file in a transaction of its own; return the names applied.

    Two racing releases: one applies, the other waits on the lock and finds nothing to do.
    Raises `SchemaMismatch` where an applied file was altered or the database is ahead of this code.
    """
    applied = []
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        for migration in available(folder):
            with connection.transaction():
                connection.execute("SET LOCAL lock_timeout = '60s'")
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                _create_table(connection)
                if _check_applied(connection, folder, migration):
                    continue
                connection.execute("SET LOCAL lock_timeout = '3s'")
                connection.execute(migration.sql.encode())
                connection.execute(
                    "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
                    (migration.version, migration.name, migration.checksum),
                )
                applied.append(migration.name)
    return applied


def require_current(url: str, folder: Path = FOLDER) -> None:
    """Refuse to start on another schema. Raises `SchemaMismatch` that says what to run."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        exists = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
        rows = _rows(connection) if exists and exists[0] else {}
    wanted = {migration.version: migration.checksum for migration in available(folder)}
    if rows != wanted:
        raise SchemaMismatch(
            f"the database is at schema {max(rows, default=0)}, this code asks for {max(wanted, default=0)}"
            " or a file was altered: run `lucid migrate` from the release that owns this database"
        )


def _create_table(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL,"
        " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )


def _rows(connection: psycopg.Connection[tuple[object, ...]]) -> dict[int, str]:
    return {
        int(str(v)): str(c) for v, c in connection.execute("SELECT version, checksum FROM schema_migrations").fetchall()
    }


def _check_applied(connection: psycopg.Connection[tuple[object, ...]], folder: Path, migration: Migration) -> bool:
    rows = _rows(connection)
    if max(rows, default=0) > len(available(folder)):
        raise SchemaMismatch("the database is ahead of this code: roll the code forward, never the schema back")
    if migration.version not in rows:
        return False
    if rows[migration.version] != migration.checksum:
        raise SchemaMismatch(f"{migration.name} was altered after it was applied")
    return True
