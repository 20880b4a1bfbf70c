"""What was found, one JSON object a line: a run that breaks off goes on where it was, and a report can be made of a part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
"""One trial: its identity (`Trial`), and what came of it."""


@dataclass(frozen=True)
class Trial:
    """What tells one trial from all others. `digest`: of what was judged; `model` and `seed`: who was asked and how."""

    pipeline: str
    way: str
    name: str
    digest: str
    model: str
    seed: int

    @classmethod
    def of(cls, record: Record) -> Trial:
        """Return the trial that a record is of."""
        return cls(**{name: record[name] for name in cls.__dataclass_fields__})


class Records:
    """A file of records. Its last line may be cut short by a death; it is then not counted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def __iter__(self) -> Iterator[Record]:
        """Yield the whole records; of several of one trial the last."""
        found: dict[Trial, Record] = {}
        for line in self._lines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            found[Trial.of(record)] = record
        yield from found.values()

    def done(self) -> frozenset[Trial]:
        """Return the trials that need not be made again: those that came to a result."""
        return frozenset(Trial.of(record) for record in self if record["state"] == "complete")

    def add(self, trial: Trial, found: Record) -> None:
        """Append a record."""
        whole = not self._lines() or self._path.read_bytes().endswith(b"\n")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(("" if whole else "\n") + json.dumps({**vars(trial), **found}) + "\n")

    def _lines(self) -> list[str]:
        return self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
