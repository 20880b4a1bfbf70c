"""Reads a corpus: functions, each correct once and with seeded defects, and tasks; both with tests that no pipeline ever sees.

The format is described in the README beside this file. Any folder of that form will do.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.sandbox.model import Language, Probe

OWN = Path(__file__).parent / "corpus"
FORWARD, REVERSE = "forward", "reverse"


class CorpusFault(Exception):
    """A file of the corpus is not of the form that the README describes."""


@dataclass(frozen=True)
class Program:
    """One version of a function. `kind`: of its defect; None for the correct one."""

    function: str
    language: Language
    context: str
    code: str
    kind: str | None
    number: int

    @property
    def name(self) -> str:
        """Return its name in records: `python/clamp`, and the number of the defect."""
        return f"{self.language}/{self.function}" + (f"#{self.number}" if self.kind else "")

    @property
    def digest(self) -> str:
        """Return what tells this text from an earlier one of the same name."""
        return _digest(self.context, self.code)


@dataclass(frozen=True)
class Subject:
    """A function: the correct program, the defective ones, and the hidden tests of all of them."""

    name: str
    correct: Program
    defective: tuple[Program, ...]
    tests: tuple[Probe, ...]

    @property
    def programs(self) -> tuple[Program, ...]:
        """Return all of them, the correct one first."""
        return (self.correct, *self.defective)


@dataclass(frozen=True)
class Assignment:
    """A task for `reverse`, with its hidden tests. `solution`: code that passes them, which shows that they can be passed."""

    function: str
    language: Language
    task: str
    solution: str | None
    tests: tuple[Probe, ...]

    @property
    def name(self) -> str:
        """Return its name in records."""
        return f"{self.language}/{self.function}"

    @property
    def digest(self) -> str:
        """Return what tells this task, and its tests, from earlier ones of the same name."""
        return _digest(self.task, *(repr(test) for test in self.tests))


@dataclass(frozen=True)
class Corpus:
    """All of it, in the order of the files' names."""

    subjects: tuple[Subject, ...]
    assignments: tuple[Assignment, ...]


def read(folder: Path = OWN) -> Corpus:
    """Read every `forward/**/NAME.toml` and `reverse/**/NAME.toml` of a folder. Raises `CorpusFault`, which names the file."""
    subjects = tuple(_subject(name, document) for name, document in _documents(folder / FORWARD))
    assignments = tuple(_assignment(name, document) for name, document in _documents(folder / REVERSE))
    if not subjects and not assignments:
        raise CorpusFault(f"{folder}: neither {FORWARD}/ nor {REVERSE}/ holds a .toml file")
    for names in ([subject.correct.name for subject in subjects], [one.name for one in assignments]):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise CorpusFault(f"{folder}: there twice: {', '.join(twice)}")
    return Corpus(subjects, assignments)


def _documents(folder: Path) -> Iterator[tuple[str, _Document]]:
    for path in sorted(folder.rglob("*.toml")):
        try:
            yield path.stem, _Document(path, tomllib.loads(path.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CorpusFault(f"{path}: {error}") from error


class _Document:
    """One file, or a table in it; every fault names the file."""

    def __init__(self, path: Path, members: Mapping[str, Any]) -> None:
        self._path = path
        self._members = members

    def text(self, name: str) -> str:
        found = self._members.get(name)
        if not isinstance(found, str) or not found.strip():
            raise CorpusFault(f"{self._path}: {name} must be text")
        return found

    def optional(self, name: str) -> str | None:
        return self.text(name) if name in self._members else None

    def tables(self, name: str) -> list[_Document]:
        found = self._members.get(name)
        if not isinstance(found, list) or not found or not all(isinstance(item, dict) for item in found):
            raise CorpusFault(f"{self._path}: there must be at least one [[{name}]]")
        return [_Document(self._path, item) for item in found]

    def language(self) -> Language:
        try:
            return Language(self.text("language"))
        except ValueError:
            raise CorpusFault(f"{self._path}: language must be one of {', '.join(Language)}") from None

    def tests(self) -> tuple[Probe, ...]:
        return tuple(table.test() for table in self.tables("tests"))

    def test(self) -> Probe:
        expected, raises = self.optional("expected"), self.optional("raises")
        if (expected is None) == (raises is None):
            raise CorpusFault(f"{self._path}: a test has either `expected` or `raises`")
        return Probe(self.text("call"), expected=expected, raises=raises, setup=self.optional("setup") or "")


def _subject(name: str, document: _Document) -> Subject:
    language, context = document.language(), document.text("context")
    defective = tuple(
        Program(name, language, context, defect.text("code"), defect.text("kind"), number)
        for number, defect in enumerate(document.tables("defects"), 1)
    )
    correct = Program(name, language, context, document.text("correct"), None, 0)
    return Subject(name, correct, defective, document.tests())


def _assignment(name: str, document: _Document) -> Assignment:
    return Assignment(name, document.language(), document.text("task"), document.optional("solution"), document.tests())


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
