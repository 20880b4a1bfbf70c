"""The records as a report, for people and for programs: one part for each model and seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from benchmarks.verification import forward_figures, reverse_figures
from benchmarks.verification.corpus import FORWARD, REVERSE
from benchmarks.verification.forward_figures import Flags, ForwardFigures, Taken
from benchmarks.verification.intervals import Share
from benchmarks.verification.records import Record
from benchmarks.verification.reverse_figures import ReverseFigures
from benchmarks.verification.trials import COMPLETE

_WIDTH = 34


@dataclass(frozen=True)
class Part:
    """What one model, asked with one seed, is known for so far."""

    model: str
    seed: int
    first_at: str
    last_at: str
    loads: tuple[float, float]
    forward: ForwardFigures | None
    reverse: ReverseFigures | None


@dataclass(frozen=True)
class Report:
    """All parts. `machine` as `benchmarks.box` describes it."""

    machine: Mapping[str, Any]
    parts: tuple[Part, ...]

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-able object; every share with its interval."""
        return {"machine": dict(self.machine), "parts": [_plain(part) for part in self.parts]}

    def as_text(self) -> str:
        """Return lines for a terminal."""
        machine = f"{self.machine['processor']}, {self.machine['cores']} cores, Python {self.machine['python']}"
        return "\n".join([machine, *(line for part in self.parts for line in _part_lines(part))])


def of(records: Sequence[Record], *, machine: Mapping[str, Any]) -> Report:
    """Make the report. Of several records of one name, as when the corpus was changed between, the last one counts."""
    groups: dict[tuple[str, int], dict[tuple[str, str, str], Record]] = {}
    for record in records:
        group = groups.setdefault((record["model"], record["seed"]), {})
        group[record["pipeline"], record["way"], record["name"]] = record
    return Report(machine, tuple(_part(*who, list(group.values())) for who, group in groups.items()))


def in_short(record: Record) -> str:
    """Return what came of one trial in a few words."""
    if record["state"] != COMPLETE:
        return f"{record['state']}, {record.get('error')}"
    took = f"{record['took_s']:.0f} s, {record['calls']} calls"
    if "attempts" in record:
        scores = ", ".join(
            f"{attempt['passed']}/{attempt['of']}{' chosen' if attempt['chosen'] else ''}"
            for attempt in record["attempts"]
        )
        return f"hidden tests {scores}; {took}"
    counts = " ".join(f"{name} {count}" for name, count in sorted(record["verdicts"].items()))
    right = " for the right reason" if any(fail.get("right") for fail in record["fails"]) else ""
    flagged = f"flagged{right}" if record["fails"] else "not flagged"
    return f"{flagged} ({record['kind'] or 'correct'}); {counts}; {took}"


def _part(model: str, seed: int, records: Sequence[Record]) -> Part:
    moments = sorted(record["at"] for record in records)
    loads = [record["load"] for record in records]
    return Part(
        model,
        seed,
        moments[0],
        moments[-1],
        (min(loads), max(loads)),
        forward_figures.figures([record for record in records if record["pipeline"] == FORWARD]),
        reverse_figures.figures([record for record in records if record["pipeline"] == REVERSE]),
    )


def _part_lines(part: Part) -> Iterator[str]:
    yield ""
    yield f"{part.model}, seed {part.seed}; {part.first_at} to {part.last_at}; load average {part.loads[0]} to {part.loads[1]}"
    if part.forward:
        yield from _forward_lines(part.forward)
    if part.reverse:
        yield from _reverse_lines(part.reverse)


def _forward_lines(found: ForwardFigures) -> Iterator[str]:
    for way, figures in found.ways.items():
        yield f"\nforward, {way}: {figures.all.correct} correct and {figures.all.defective} defective programs"
        yield from _flag_lines(figures.all)
        yield _row("pairs told apart", _share(figures.told_apart))
        yield _row("with PARTIAL as a flag: recall", _share(figures.leniently.recall))
        yield _row("  false positives", _share(figures.leniently.false_positives))
        yield _row("claims", _counts(figures.verdicts))
        yield _row("evidence", _counts(figures.evidence))
        yield from _taken_lines(figures.taken)
        for name, flags in (figures.by_language | figures.by_kind).items():
            yield _row(f"  {name}", _flags_in_short(flags))
    yield from _compared_lines(found.compared, "judged rightly")


def _flag_lines(flags: Flags) -> Iterator[str]:
    yield _row("precision", _share(flags.precision))
    yield _row("recall", _share(flags.recall))
    if flags.right is not None:
        yield _row("flagged for the right reason", _share(flags.right))
    yield _row("false positives on correct code", _share(flags.false_positives))
    if flags.unanswered:
        yield _row("runs without an answer", str(flags.unanswered))


def _flags_in_short(flags: Flags) -> str:
    said = f"recall {flags.true_flags}/{flags.defective}"
    return f"{said}, false positives {flags.false_flags}/{flags.correct}" if flags.correct else said


def _reverse_lines(found: ReverseFigures) -> Iterator[str]:
    for way, figures in found.ways.items():
        yield f"\nreverse, {way}: {figures.tasks} tasks"
        yield _row("right at the first attempt", _share(figures.first))
        if figures.claimed is not None:
            claimed = figures.claimed
            yield _row("right as returned", _share(figures.chosen))
            yield _row(
                "attempts a task; mended, made worse",
                f"{figures.attempts:.2f}; {figures.mended}, {figures.regressions}",
            )
            yield _row("percentage claimed; hidden tests", f"{claimed.percentage:.1f} %; {claimed.hidden:.1f} %")
            yield _row("of those claimed at 100 %, wrong", _share(claimed.full))
        if figures.unanswered:
            yield _row("runs without an answer", str(figures.unanswered))
        yield from _taken_lines(figures.taken)
    yield from _compared_lines(found.compared, "done rightly")


def _taken_lines(taken: Taken) -> Iterator[str]:
    yield _row("time", f"p50 {taken.p50_s:.0f} s, p95 {taken.p95_s:.0f} s; {taken.calls:.1f} calls of the model")
    yield _row("tokens, in and out", f"{taken.tokens_in:.0f} and {taken.tokens_out:.0f}")


def _compared_lines(compared: Mapping[str, tuple[int, int, int, float]], what: str) -> Iterator[str]:
    for names, (both, only_first, only_second, p) in compared.items():
        text = (
            f"of {both} in both, {what} by the first alone {only_first}, by the second alone {only_second}; p = {p:.3g}"
        )
        yield f"\n{names} (McNemar, exact): {text}"


def _share(share: Share) -> str:
    if share.value is None:
        return "none of none"
    low, high = share.interval
    return f"{share.value:.1%} ({share.hits} of {share.of}; 95 %: {low:.1%} to {high:.1%})"


def _counts(counts: Mapping[str, int]) -> str:
    total = sum(counts.values()) or 1
    return ", ".join(f"{name} {count} ({count / total:.0%})" for name, count in sorted(counts.items()))


def _row(name: str, text: str) -> str:
    return f"  {name:<{_WIDTH}} {text}"


def _plain(found: Any) -> Any:
    if isinstance(found, Share):
        return {"hits": found.hits, "of": found.of, "value": found.value, "interval": list(found.interval)}
    if isinstance(found, Flags):
        shares = {"precision": found.precision, "recall": found.recall, "false_positives": found.false_positives}
        return asdict(found) | {name: _plain(share) for name, share in (shares | {"right": found.right}).items()}
    if is_dataclass(found):
        return {name: _plain(getattr(found, name)) for name in found.__dataclass_fields__}
    if isinstance(found, Mapping):
        return {name: _plain(value) for name, value in found.items()}
    return list(found) if isinstance(found, tuple) else found
