"""What records of `forward` say: a program is flagged if it has a FAIL; flagged and defective is what is to come together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.figures import percentile
from benchmarks.verification.intervals import Share, mcnemar
from benchmarks.verification.records import Record
from benchmarks.verification.trials import COMPLETE, PIPELINE


@dataclass(frozen=True)
class Flags:
    """How one way judged some programs. A run that failed flags nothing; `unanswered` says how many those are."""

    correct: int
    defective: int
    false_flags: int
    true_flags: int
    right_reasons: int | None
    unanswered: int

    @property
    def precision(self) -> Share:
        """Of the flagged programs, those with a defect."""
        return Share(self.true_flags, self.true_flags + self.false_flags)

    @property
    def recall(self) -> Share:
        """Of the programs with a defect, the flagged ones."""
        return Share(self.true_flags, self.defective)

    @property
    def false_positives(self) -> Share:
        """Of the correct programs, the flagged ones."""
        return Share(self.false_flags, self.correct)

    @property
    def right(self) -> Share | None:
        """Of the programs with a defect, those with a FAIL whose expectation the correct program fulfils; None: cannot be told."""
        return None if self.right_reasons is None else Share(self.right_reasons, self.defective)


@dataclass(frozen=True)
class Taken:
    """What a run took: seconds, and means of calls and tokens."""

    p50_s: float
    p95_s: float
    calls: float
    tokens_in: float
    tokens_out: float

    @classmethod
    def of(cls, records: Sequence[Record]) -> Taken:
        """Return what those of them that came to a result took; where none did, what all took. There is at least one."""
        records = [record for record in records if record["state"] == COMPLETE] or records
        seconds = [record["took_s"] for record in records]
        means = [
            sum(record[name] for record in records) / len(records) for name in ("calls", "tokens_in", "tokens_out")
        ]
        return cls(percentile(seconds, 0.5), percentile(seconds, 0.95), *means)


@dataclass(frozen=True)
class WayFigures:
    """One way's figures. `leniently`: where a PARTIAL counts as a flag, too. `told_apart`: of the pairs of a defective program and
    its correct one, those with only the former flagged."""

    all: Flags
    leniently: Flags
    by_language: dict[str, Flags]
    by_kind: dict[str, Flags]
    told_apart: Share
    verdicts: dict[str, int]
    evidence: dict[str, int]
    taken: Taken


@dataclass(frozen=True)
class ForwardFigures:
    """All ways, and where there are two: programs that only one of them judged rightly, and McNemar's exact p."""

    ways: dict[str, WayFigures]
    compared: dict[str, tuple[int, int, int, float]] = field(default_factory=dict)


def figures(records: Sequence[Record]) -> ForwardFigures | None:
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
    return ForwardFigures({way: _way(of_way) for way, of_way in by_way.items()}, compared)


def is_flagged(record: Record, *, leniently: bool = False) -> bool:
    """Tell whether a program was flagged. `leniently`: by a PARTIAL as well."""
    verdicts = record.get("verdicts", {})
    return bool(verdicts.get("FAIL") or (leniently and verdicts.get("PARTIAL")))


def _way(records: Sequence[Record]) -> WayFigures:
    return WayFigures(
        all=_flags(records),
        leniently=_flags(records, leniently=True),
        by_language=_by(records, "language"),
        by_kind=_by([record for record in records if record["kind"]], "kind"),
        told_apart=_told_apart(records),
        verdicts=_summed(record.get("verdicts", {}) for record in records),
        evidence=_summed(record.get("evidence", {}) for record in records),
        taken=Taken.of(records),
    )


def _flags(records: Sequence[Record], *, leniently: bool = False) -> Flags:
    correct = [record for record in records if not record["kind"]]
    defective = [record for record in records if record["kind"]]
    is_known = all(record["way"] == PIPELINE for record in records)
    return Flags(
        correct=len(correct),
        defective=len(defective),
        false_flags=sum(is_flagged(record, leniently=leniently) for record in correct),
        true_flags=sum(is_flagged(record, leniently=leniently) for record in defective),
        right_reasons=sum(_is_right(record) for record in defective) if is_known else None,
        unanswered=sum(record["state"] != COMPLETE for record in records),
    )


def _is_right(record: Record) -> bool:
    return any(fail.get("right") for fail in record.get("fails", ()))


def _by(records: Sequence[Record], member: str) -> dict[str, Flags]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record[member], []).append(record)
    return {name: _flags(groups[name]) for name in sorted(groups)}


def _told_apart(records: Sequence[Record]) -> Share:
    correct = {(record["language"], record["function"]): record for record in records if not record["kind"]}
    pairs = [
        (record, correct[record["language"], record["function"]])
        for record in records
        if record["kind"] and (record["language"], record["function"]) in correct
    ]
    return Share(sum(is_flagged(wrong) and not is_flagged(right) for wrong, right in pairs), len(pairs))


def _compared(first: Sequence[Record], second: Sequence[Record]) -> tuple[int, int, int, float]:
    """Return how many programs both judged, how many only the first and only the second judged rightly, and p."""
    others = {record["name"]: _is_judged_rightly(record) for record in second}
    pairs = [(_is_judged_rightly(record), others[record["name"]]) for record in first if record["name"] in others]
    only_first = sum(mine and not other for mine, other in pairs)
    only_second = sum(other and not mine for mine, other in pairs)
    return len(pairs), only_first, only_second, mcnemar(only_first, only_second)


def _is_judged_rightly(record: Record) -> bool:
    return record["state"] == COMPLETE and is_flagged(record) == bool(record["kind"])


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
