"""What records of `reverse` say: code counts as right if it passes every hidden test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.verification.forward_figures import Taken
from benchmarks.verification.intervals import Share, mcnemar
from benchmarks.verification.records import Record
from benchmarks.verification.trials import COMPLETE


@dataclass(frozen=True)
class Claimed:
    """What the pipeline says of its code beside what the hidden tests say, in percent, means; `full`: tasks of 100 % that fail a test."""

    percentage: float
    hidden: float
    full: Share


@dataclass(frozen=True)
class WayFigures:
    """One way's figures. `first`, `chosen`: tasks whose first attempt, and whose chosen one, passes every hidden test.

    `regressions`: tasks whose first attempt passes more of them than the chosen one. `mended`: the other way round.
    """

    tasks: int
    unanswered: int
    first: Share
    chosen: Share
    attempts: float
    mended: int
    regressions: int
    claimed: Claimed | None
    taken: Taken


@dataclass(frozen=True)
class ReverseFigures:
    """All ways, and for each pair: tasks in both, done rightly only by the first, only by the second, McNemar's exact p."""

    ways: dict[str, WayFigures]
    compared: dict[str, tuple[int, int, int, float]]


def figures(records: Sequence[Record]) -> ReverseFigures | None:
    """Return the figures of these records; None where there are none."""
    by_way: dict[str, list[Record]] = {}
    for record in records:
        by_way.setdefault(record["way"], []).append(record)
    if not by_way:
        return None
    names = list(by_way)
    compared = {
        f"{first} / {second}": _compared(by_way[first], by_way[second])
        for index, first in enumerate(names)
        for second in names[index + 1 :]
    }
    return ReverseFigures({way: _way(of_way) for way, of_way in by_way.items()}, compared)


def is_right(record: Record) -> bool:
    """Tell whether the chosen code passes every hidden test; a run that failed has none."""
    return record["state"] == COMPLETE and _is_full(_chosen(record))


def _way(records: Sequence[Record]) -> WayFigures:
    complete = [record for record in records if record["state"] == COMPLETE]
    gains = [_chosen(record)["passed"] - record["attempts"][0]["passed"] for record in complete]
    attempts = sum(len(record["attempts"]) for record in complete)
    return WayFigures(
        tasks=len(records),
        unanswered=len(records) - len(complete),
        first=Share(sum(_is_full(record["attempts"][0]) for record in complete), len(records)),
        chosen=Share(sum(is_right(record) for record in records), len(records)),
        attempts=attempts / max(1, len(complete)),
        mended=sum(gain > 0 for gain in gains),
        regressions=sum(gain < 0 for gain in gains),
        claimed=_claimed([record for record in complete if "verification" in record]),
        taken=Taken.of(records),
    )


def _claimed(records: Sequence[Record]) -> Claimed | None:
    if not records:
        return None
    hidden = [100 * _chosen(record)["passed"] / _chosen(record)["of"] for record in records]
    percentages = [record["verification"]["percentage"] for record in records]
    of_full = [record for record in records if record["verification"]["satisfied"] == record["verification"]["total"]]
    false = Share(sum(not is_right(record) for record in of_full), len(of_full))
    return Claimed(sum(percentages) / len(records), sum(hidden) / len(records), false)


def _chosen(record: Record) -> Record:
    found: Record = next(attempt for attempt in record["attempts"] if attempt["chosen"])
    return found


def _is_full(attempt: Record) -> bool:
    return bool(attempt["passed"] == attempt["of"])


def _compared(first: Sequence[Record], second: Sequence[Record]) -> tuple[int, int, int, float]:
    others = {record["name"]: is_right(record) for record in second}
    pairs = [(is_right(record), others[record["name"]]) for record in first if record["name"] in others]
    only_first = sum(mine and not other for mine, other in pairs)
    only_second = sum(other and not mine for mine, other in pairs)
    return len(pairs), only_first, only_second, mcnemar(only_first, only_second)
