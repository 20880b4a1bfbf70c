"""A run for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.figures import Comparison, Figure, Section

_NAME_WIDTH = 62


@dataclass(frozen=True)
class Measured:
    """One section with how long it took (seconds), the load averages around it, and how many cores other programs used."""

    name: str
    section: Section
    load_before: float
    load_after: float
    took_s: float
    cores_of_others: float


def as_text(measured: Measured) -> str:
    """Return one section as lines for a terminal."""
    section = measured.section
    loads = f"load average {measured.load_before:.2f} → {measured.load_after:.2f}"
    around = f"{measured.took_s:.0f} s; {loads}; other programs used {measured.cores_of_others:.2f} cores"
    lines = [f"\n{section.title}   ({measured.name}; {around})"]
    lines += _table(section.figures)
    lines += [_compared(comparison) for comparison in section.comparisons]
    if section.breakdown:
        lines += ["  where the time goes:", *_table(section.breakdown)]
    return "\n".join(lines + [f"  · {remark}" for remark in section.remarks])


def as_json(machine: dict[str, Any], *, effort: str, measured: Sequence[Measured]) -> dict[str, Any]:
    """Return the whole run as one JSON-able object."""
    return {
        "machine": machine,
        "effort": effort,
        "sections": {
            item.name: asdict(item) | {"met": {c.name: c.is_met for c in item.section.comparisons}} for item in measured
        },
    }


def missed(measured: Sequence[Measured]) -> list[str]:
    """Return the goals that were not reached, one line each."""
    return [
        f"{item.name}: {_compared(comparison).strip()}"
        for item in measured
        for comparison in item.section.comparisons
        if comparison.is_met is False
    ]


def _table(figures: Sequence[Figure]) -> list[str]:
    return [f"  {figure.name:<{_NAME_WIDTH}} {_values(figure.values)}   n={figure.n}" for figure in figures]


def _values(values: dict[str, float]) -> str:
    return "  ".join(f"{column.replace('_', ' ')} {_number(value)}" for column, value in values.items())


def _compared(comparison: Comparison) -> str:
    text = f"  {comparison.name:<{_NAME_WIDTH}} {_number(comparison.measured)} {comparison.unit}"
    if comparison.interval is not None:
        text += " (95 % of resamples {} to {})".format(*map(_number, comparison.interval))
    if comparison.limit is None:
        return text
    sign = "≤" if comparison.at_most else "≥"
    verdict = "met" if comparison.is_met else "MISSED"
    return f"{text}   goal {sign} {_number(comparison.limit)} {comparison.unit}: {verdict}"


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
