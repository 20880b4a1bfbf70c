"""Enums against the CHECKs in the migrations, and named SQL against the stores that run it."""

from __future__ import annotations

import ast
import re
from enum import StrEnum
from pathlib import Path

import pytest

from shared.access.model import Mode, Tier
from shared.access.plans import PLANS
from shared.access.quotas import Pipeline
from shared.agent.demo.model import DEMO_ENDED, DEMO_TRANSITIONS, DemoState
from shared.agent.model import ENDED, JOB_TRANSITIONS, JobState
from shared.agent.sessions.model import REQUEST_ENDED, REQUEST_TRANSITIONS, RequestState, SessionState
from shared.catalog.model import NodeStatus, PassportStatus, PassportType
from shared.db.migrations import available
from shared.db.model import Queries
from shared.inference.model import RUN_ENDED, RUN_TRANSITIONS, CancelReason, RunState, Surface
from shared.kernel.transitions import terminal
from shared.ledger.model import Account, DebtReason, DebtState, ReservationState
from shared.lightning.model import (
    InvoiceState,
    NodeInvoiceState,
    NodePaymentState,
    PayoutState,
    Purpose,
    SweepReason,
)
from shared.plans.model import PurchaseState
from shared.receipts.model import WITNESS, AnchorState, EpochState, ReceiptKind
from shared.verification.model import Stage, StageState, VerificationState
from shared.verification.tools import FaultCode
from shared.work.model import StepState
from tests.architecture.source_tree import PACKAGES, ROOT, name_of, python_files, tree_of

SOLD = frozenset(str(plan.tier) for plan in PLANS.values() if plan.is_sold)
STORED: dict[str, type[StrEnum] | frozenset[str]] = {
    "steps_state_known": StepState,
    "postings_account_known": Account,
    "debts_reason_known": DebtReason,
    "debts_state_known": DebtState,
    "sweeps_reason_known": SweepReason,
    "invoices_purpose_known": Purpose,
    "invoices_state_known": InvoiceState,
    "receipts_kind_known": ReceiptKind,
    "receipt_salts_field_known": frozenset({"input", "output", "request", "claims", "verdicts"}),
    "epochs_state_known": EpochState,
    "anchors_target_known": frozenset({WITNESS}),
    "anchors_state_known": AnchorState,
    "jobs_state_known": JobState,
    "sessions_state_known": SessionState,
    "session_requests_state_known": RequestState,
    "reservations_state_known": ReservationState,
    "payouts_state_known": PayoutState,
    "demos_state_known": DemoState,
    "passports_type_known": PassportType,
    "passports_status_known": PassportStatus,
    "heartbeats_status_known": NodeStatus,
    "runs_state_known": RunState,
    "runs_mode_known": Mode,
    "runs_surface_known": Surface,
    "runs_cancel_reason_known": CancelReason,
    "usage_mode_known": Mode,
    "api_keys_mode_known": Mode,
    "api_keys_tier_known": Tier,
    "verifications_pipeline_known": frozenset(map(str, Pipeline)),
    "verifications_mode_known": Mode,
    "verifications_state_known": VerificationState,
    "verifications_stage_known": frozenset(map(str, Stage)),
    "verifications_error_code_known": frozenset(map(str, FaultCode)),
    "verification_stages_stage_known": frozenset(map(str, Stage)),
    "verification_stages_state_known": StageState,
    "quotas_mode_known": Mode,
    "quota_units_pipeline_known": frozenset(map(str, Pipeline)),
    "plan_purchases_state_known": PurchaseState,
    "plan_purchases_tier_known": SOLD,
    "plan_grants_tier_known": SOLD,
}
# enums of that kind that no column holds
DERIVED = {"EpochStatus", "ExecutionMode", "RefundState"}
FOREIGN = {NodeInvoiceState.__name__, NodePaymentState.__name__}
STORES = [path for path in python_files("shared") if path.name == "store.py"]


def migrated_sql() -> str:
    text = "\n".join(migration.sql for migration in available())
    return re.sub(r"--[^\n]*", "", text)


def known_values() -> dict[str, frozenset[str]]:
    """The values that each `…_known` constraint allows, as the last migration that states it has them."""
    stated = re.findall(r"CONSTRAINT\s+(\w+_known)\s+CHECK\s*\(\s*\w+\s+IN\s*\(([^)]*)\)", migrated_sql())
    return {name: frozenset(re.findall(r"'([^']*)'", values)) for name, values in stated}


@pytest.mark.parametrize("constraint", STORED)
def test_an_enum_and_its_check_allow_the_same(constraint: str) -> None:
    assert known_values()[constraint] == frozenset(str(value) for value in STORED[constraint])


def test_every_check_of_known_values_has_its_enum() -> None:
    assert set(known_values()) == set(STORED)


def test_every_column_of_a_state_or_reason_has_a_check() -> None:
    columns = re.findall(
        r"^\s+(state|(?:cancel_)?reason|purpose|kind|account|target)\s+text\b[^,]*", migrated_sql(), re.MULTILINE
    )
    # entries.kind names the movement in the ledger's own words; the reason of a job, a session's request and a demo is a sentence
    kept = [name for name in STORED if re.search(r"_(state|reason|purpose|kind|account|target)_known$", name)]
    assert len(columns) == len(kept) + 4


def test_every_stored_enum_is_compared() -> None:
    enums = {
        node.name
        for path in python_files("shared")
        if path.name == "model.py"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
        and "StrEnum" in {base.id for base in node.bases if isinstance(base, ast.Name)}
        and re.search(r"(State|Status|Type|Mode|Tier|Surface|Kind|Reason|Purpose|Account)$", node.name)
    }
    assert enums == {enum.__name__ for enum in STORED.values() if isinstance(enum, type)} | DERIVED | FOREIGN


@pytest.mark.parametrize(
    ("table", "ended", "terminal_states"),
    [
        ("jobs", ENDED, terminal(JOB_TRANSITIONS, JobState)),
        ("session_requests", REQUEST_ENDED, terminal(REQUEST_TRANSITIONS, RequestState)),
        ("runs", RUN_ENDED, terminal(RUN_TRANSITIONS, RunState)),
        ("demos", DEMO_ENDED, terminal(DEMO_TRANSITIONS, DemoState)),
    ],
)
def test_the_database_dates_the_end_of_just_what_nothing_moves_any_more(
    table: str, ended: frozenset[str], terminal_states: frozenset[str]
) -> None:
    dated = re.search(
        rf"{table}_end_is_dated\s+CHECK\s*\(\(ended_at IS NOT NULL\) = \(state IN \(([^)]*)\)", migrated_sql()
    )
    assert dated is not None
    assert frozenset(re.findall(r"'([^']*)'", dated[1])) == ended == terminal_states


@pytest.mark.parametrize("room", [name_of(store.parent) for store in STORES])
def test_every_named_statement_is_run_by_its_room_and_every_name_run_is_there(room: str) -> None:
    """A room within a room has statements of its own."""
    inner = [store.parent for store in STORES if name_of(store.parent).startswith(f"{room}/")]
    own = [path for path in python_files(room) if not any(path.is_relative_to(folder) for folder in inner)]
    statements = Queries.beside(str(ROOT / room / "store.py")).statements
    assert {name for path in own for name in _names_run(path)} == set(statements)


def test_every_page_of_named_sql_lies_beside_a_store() -> None:
    assert [name_of(path) for path in (ROOT / "shared").rglob("*.sql") if not path.with_name("store.py").exists()] == []


def test_sql_is_written_in_stores_migrations_and_the_database_room_only() -> None:
    statement = re.compile(r"^\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|COPY)\s", re.MULTILINE)
    written = {
        name_of(path)
        for path in python_files(*PACKAGES)
        if path.name != "store.py" and not name_of(path).startswith(("shared/db/", "devstack/"))
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and statement.match(node.value)
    }
    assert written == set()


def _names_run(path: Path) -> set[str]:
    """Return every name in `SQL["name"]`."""
    return {
        str(node.slice.value)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "SQL"
        and isinstance(node.slice, ast.Constant)
    }
