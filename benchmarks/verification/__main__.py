"""`python -m benchmarks.verification`: every program judged and every task done, in each way, then the report."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click

from benchmarks import box
from benchmarks.verification import report
from benchmarks.verification.corpus import (
    FORWARD,
    OWN,
    REVERSE,
    Assignment,
    Corpus,
    CorpusFault,
    Program,
    Subject,
    read,
)
from benchmarks.verification.door import Pipelines
from benchmarks.verification.host import Host, embedded, remote, sandbox_cache
from benchmarks.verification.records import Record, Records
from benchmarks.verification.trials import PIPELINE, WAYS, Judges, judged, written
from benchmarks.verification.truth import Truth
from config.logging import configure_logging
from shared.bootstrap import Role
from shared.kernel.clock import SystemClock
from shared.llm.clients.openai import Upstream
from shared.sandbox.service import Sandboxes

_UNKNOWN_MODEL = "of-the-service"


@dataclass(frozen=True)
class Chosen:
    """What of a corpus is tried, in which order."""

    subjects: tuple[Subject, ...]
    assignments: tuple[Assignment, ...]
    most_defects: int | None

    def trials(self, ways: Sequence[str]) -> Iterator[tuple[str, str, Subject | None, Program | Assignment]]:
        """Yield pipeline, way, the function and what is judged; a function's programs follow each other, and so do the ways."""
        for subject in self.subjects:
            for program in (subject.correct, *subject.defective[: self.most_defects]):
                yield from ((FORWARD, way, subject, program) for way in WAYS[FORWARD] if way in ways)
        for assignment in self.assignments:
            yield from ((REVERSE, way, None, assignment) for way in WAYS[REVERSE] if way in ways)


@click.command()
@click.option("--corpus", "folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=OWN)
@click.option(
    "--only", multiple=True, help="Only these functions or tasks: `clamp`, or `python/clamp`; may be repeated."
)
@click.option("--pipeline", "pipelines", type=click.Choice([FORWARD, REVERSE]), multiple=True, help="Only this one.")
@click.option(
    "--way", "ways", type=click.Choice(["pipeline", "opinion", "one-shot"]), multiple=True, help="Only this way."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many functions and tasks, drawn by the seed.")
@click.option("--defects", type=click.IntRange(min=1), help="At most so many defects of each function.")
@click.option(
    "--seed", default=1, show_default=True, help="The order, the draw of --limit, and the seed of direct questions."
)
@click.option("--url", help="A running service; without it the embedded stack is started, with the local model.")
@click.option("--key", envvar="LUCID_API_KEY", help="Its key, for --url.")
@click.option(
    "--records",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(".lucid/verification.jsonl"),
    show_default=True,
    help="Where results are kept as they come; what is there is not tried again.",
)
@click.option("--report-only", is_flag=True, help="Try nothing; report what the records hold.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object on stdout.")
def main(
    folder: Path,
    only: tuple[str, ...],
    pipelines: tuple[str, ...],
    ways: tuple[str, ...],
    limit: int | None,
    defects: int | None,
    seed: int,
    url: str | None,
    key: str | None,
    path: Path,
    *,
    report_only: bool,
    as_json: bool,
) -> None:
    """Measure how far the verdicts can be trusted. With the local model the whole corpus takes a night: begin with --limit."""
    signal.signal(signal.SIGTERM, _interrupt)
    configure_logging(role=Role.CLI, level="WARNING")
    if url and not key:
        raise click.UsageError("--url needs --key, or LUCID_API_KEY")
    try:
        chosen = _chosen(read(folder), only=only, pipelines=pipelines, limit=limit, defects=defects, seed=seed)
    except CorpusFault as fault:
        raise click.ClickException(str(fault)) from fault
    records = Records(path)
    if not report_only:
        with ExitStack() as opened:
            host = remote(url, key or "", os.environ) if url else opened.enter_context(embedded(os.environ))
            judges = opened.enter_context(_judges(host, seed))
            _try_all(chosen, judges, records, ways or tuple({way for each in WAYS.values() for way in each}))
    found = report.of(list(records), machine=box.describe())
    click.echo(json.dumps(found.as_json(), indent=1, ensure_ascii=False) if as_json else found.as_text())


def _chosen(
    corpus: Corpus, *, only: Sequence[str], pipelines: Sequence[str], limit: int | None, defects: int | None, seed: int
) -> Chosen:
    def wanted(name: str) -> bool:
        return not only or name in only or name.partition("/")[2] in only

    subjects = [one for one in corpus.subjects if wanted(one.correct.name) and FORWARD in (pipelines or WAYS)]
    assignments = [one for one in corpus.assignments if wanted(one.name) and REVERSE in (pipelines or WAYS)]
    if not subjects and not assignments:
        raise CorpusFault(f"nothing in the corpus is called {', '.join(only)}")
    chance = random.Random(seed)
    chance.shuffle(subjects)
    chance.shuffle(assignments)
    return Chosen(tuple(subjects[:limit]), tuple(assignments[:limit]), defects)


@contextmanager
def _judges(host: Host, seed: int) -> Iterator[Judges]:
    clock = SystemClock()
    sandboxes = Sandboxes(cache_dir=sandbox_cache(), most_at_once=1)
    sandboxes.warm()
    with ExitStack() as opened:
        pipelines = opened.enter_context(Pipelines(host.url, host.key, clock))
        upstream = None
        if host.model is not None:
            address = host.model
            upstream = Upstream(
                address.base_url,
                address.api_key,
                first_token_s=address.first_token_s,
                deadline_s=address.deadline_s,
                clock=clock,
            )
            opened.callback(upstream.close)
        name = host.model.name if host.model else _UNKNOWN_MODEL
        yield Judges(pipelines, Truth(sandboxes), clock, name, seed, upstream)


def _try_all(chosen: Chosen, judges: Judges, records: Records, ways: Sequence[str]) -> None:
    able = ways if judges.upstream is not None else [way for way in ways if way == PIPELINE]
    done = records.done()
    trials = [
        (judges.trial(pipeline, way, item), subject, item) for pipeline, way, subject, item in chosen.trials(able)
    ]
    left = [each for each in trials if each[0] not in done]
    click.echo(f"{len(trials)} trials, {len(trials) - len(left)} of them done before; model {judges.model}", err=True)
    for number, (trial, subject, item) in enumerate(left, 1):
        found = _tried(trial.way, subject, item, judges)
        records.add(
            trial, {**found, "load": round(box.load(), 2), "at": judges.clock.now().isoformat(timespec="seconds")}
        )
        click.echo(
            f"{number}/{len(left)} {trial.pipeline} {trial.way} {trial.name}: {report.in_short(found)}", err=True
        )


def _tried(way: str, subject: Subject | None, item: Program | Assignment, judges: Judges) -> Record:
    if isinstance(item, Assignment):
        return written(item, way, judges)
    assert subject is not None
    return judged(subject, item, way, judges)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
