"""What an examination finds: one line a check, what to do about it, and whether that needs a person."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is. Only a fault needs a hand."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check. `remedy` says what to do; it is empty where all is well."""

    check: str
    level: Level
    detail: str
    remedy: str = ""


def ok(check: str, detail: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(check, Level.OK, detail)


def warning(check: str, detail: str, remedy: str) -> Finding:
    """Return a finding that somebody should know."""
    return Finding(check, Level.WARNING, detail, remedy)


def fault(check: str, detail: str, remedy: str) -> Finding:
    """Return a finding that needs a hand."""
    return Finding(check, Level.FAULT, detail, remedy)


def needs_a_hand(findings: list[Finding]) -> bool:
    """Tell whether any finding is a fault."""
    return any(finding.level is Level.FAULT for finding in findings)
