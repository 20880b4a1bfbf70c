"""Migrations on a real PostgreSQL: forward, once, unaltered, by one process at a time."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from shared.db.migrations import FOLDER, SchemaMismatch, available, migrate, require_current
from tests.e2e.patience import at_once


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may spoil."""
    copy = tmp_path / "migrations"
    shutil.copytree(FOLDER, copy)
    return copy


def names() -> list[str]:
    return [migration.name for migration in available()]


def applied(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT name FROM schema_migrations ORDER BY version").fetchall()
    return [str(row[0]) for row in rows]


def test_the_first_run_applies_all_and_the_second_nothing(empty_url: str) -> None:
    assert migrate(empty_url) == names()
    assert migrate(empty_url) == []
    require_current(empty_url)
    assert applied(empty_url) == names()


def test_of_two_runs_at_once_each_migration_is_applied_by_one(empty_url: str) -> None:
    first, second = at_once(lambda: migrate(empty_url), lambda: migrate(empty_url))
    assert sorted(first + second) == names()
    assert applied(empty_url) == names()


def test_a_file_that_was_altered_after_it_was_applied_is_refused(empty_url: str, folder: Path) -> None:
    migrate(empty_url, folder)
    altered = folder / names()[1]
    altered.write_text(altered.read_text(encoding="utf-8") + "\n-- an afterthought\n", encoding="utf-8")
    with pytest.raises(SchemaMismatch, match=f"{altered.name} was altered"):
        migrate(empty_url, folder)
    with pytest.raises(SchemaMismatch, match="altered"):
        require_current(empty_url, folder)


def test_a_database_that_is_ahead_is_refused(empty_url: str, folder: Path) -> None:
    migrate(empty_url, folder)
    (folder / names()[-1]).unlink()
    with pytest.raises(SchemaMismatch, match="ahead"):
        migrate(empty_url, folder)
    with pytest.raises(SchemaMismatch):
        require_current(empty_url, folder)


def test_a_process_does_not_start_on_a_database_that_is_behind(empty_url: str, url: str) -> None:
    with pytest.raises(SchemaMismatch, match="lucid migrate"):
        require_current(empty_url)
    require_current(url)


def test_a_migration_that_fails_leaves_those_before_it_and_nothing_of_itself(empty_url: str, folder: Path) -> None:
    number = len(names()) + 1
    (folder / f"{number:04d}_half.sql").write_text("CREATE TABLE half (id bigint);\nSELECT 1 / 0;\n", encoding="utf-8")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_url, folder)
    assert applied(empty_url) == names()
    with psycopg.connect(empty_url) as connection:
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)


@pytest.mark.parametrize("name", ["0009_gap.sql", "0001_twice.sql", "six.sql", "6_short.sql"])
def test_a_folder_with_gaps_repetitions_or_strange_names_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("SELECT 1;\n", encoding="utf-8")
    with pytest.raises(SchemaMismatch):
        available(folder)


def test_a_withdrawal_that_waits_becomes_the_invoices_own(empty_url: str, folder: Path) -> None:
    later = [path for path in sorted(folder.iterdir()) if path.name >= "0010"]
    aside = [path.rename(folder.parent / path.name) for path in later]
    migrate(empty_url, folder)
    with psycopg.connect(empty_url) as connection:
        connection.execute(
            """INSERT INTO invoices (owner_kind, owner_id, purpose, state, preimage_salt, payment_hash, amount_msat, memo, expires_at)
               SELECT 'job', number, 'eval', state, sha256('a'), sha256(state::bytea), 1000, '', now()
                 FROM (VALUES (1, 'expired'), (2, 'open')) AS made (number, state)"""
        )
        connection.execute(
            "INSERT INTO steps (owner_kind, owner_id, name) VALUES ('job', 1, 'withdraw_invoice'), ('job', 2, 'execute')"
        )
    for path in aside:
        path.rename(folder / path.name)
    assert migrate(empty_url, folder) == [path.name for path in later]
    with psycopg.connect(empty_url) as connection:
        steps = connection.execute("SELECT owner_kind, owner_id, name, state FROM steps ORDER BY id").fetchall()
    assert steps == [
        ("job", 1, "withdraw_invoice", "done"),
        ("job", 2, "execute", "queued"),
        ("invoice", 1, "withdraw", "queued"),
    ]
