"""The corpus of the benchmark says what it says: every correct program passes its hidden tests, every defect fails one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.verification.corpus import Assignment, CorpusFault, Program, Subject, read
from benchmarks.verification.truth import Truth
from shared.sandbox.model import Language
from shared.sandbox.service import Sandboxes
from tests.integration.sandbox.conftest import sandbox_cache, sandboxes  # noqa: F401 - fixtures are found by their names

CORPUS = read()
EVERY = 1 if os.environ.get("LUCID_SOAK") else 8
"""One run a program takes about a quarter of a second; the whole corpus is for the soak."""


def programs() -> Iterator[tuple[Subject, Program]]:
    for subject in CORPUS.subjects[::EVERY]:
        yield from ((subject, program) for program in subject.programs)


@pytest.mark.parametrize(("subject", "program"), list(programs()), ids=lambda item: getattr(item, "name", ""))
def test_a_correct_program_passes_its_hidden_tests_and_a_defect_fails_one(
    subject: Subject,
    program: Program,
    sandboxes: Sandboxes,  # noqa: F811 - the fixture
) -> None:
    score = Truth(sandboxes).score(program.language, program.code, subject.tests)
    assert score.is_full == (program.kind is None), score


@pytest.mark.parametrize("assignment", CORPUS.assignments[::EVERY], ids=lambda item: item.name)
def test_a_task_can_be_done(
    assignment: Assignment,
    sandboxes: Sandboxes,  # noqa: F811 - the fixture
) -> None:
    assert assignment.solution is not None
    score = Truth(sandboxes).score(assignment.language, assignment.solution, assignment.tests)
    assert score.is_full, score


def test_the_corpus_is_as_large_as_is_said_and_in_both_languages() -> None:
    assert len(CORPUS.subjects) >= 60
    assert len(CORPUS.assignments) >= 20
    assert all(subject.defective for subject in CORPUS.subjects)
    assert len({program.kind for subject in CORPUS.subjects for program in subject.defective}) >= 8
    for some in (CORPUS.subjects, CORPUS.assignments):
        names = [item.correct.name if isinstance(item, Subject) else item.name for item in some]
        assert len(names) == len(set(names))
        languages = {item.correct.language if isinstance(item, Subject) else item.language for item in some}
        assert languages == {Language.PYTHON, Language.TYPESCRIPT}


def test_no_hidden_test_stands_in_what_the_pipelines_are_told() -> None:
    for subject in CORPUS.subjects:
        assert not [test.call for test in subject.tests if test.call in subject.correct.context], subject.name
    for assignment in CORPUS.assignments:
        assert not [test.call for test in assignment.tests if test.call in assignment.task], assignment.name


def test_the_defects_differ_from_the_correct_program_and_from_each_other() -> None:
    for subject in CORPUS.subjects:
        assert len({program.code for program in subject.programs}) == len(subject.programs), subject.name


WHOLE = """
language = "python"
context = "Return it."
correct = "def same(value): return value"
[[defects]]
kind = "wrong-result"
code = "def same(value): return None"
[[tests]]
call = "same(1)"
expected = "1"
"""


def test_another_folder_of_the_same_form_will_do(tmp_path: Path) -> None:
    place = tmp_path / "forward" / "mine"
    place.mkdir(parents=True)
    (place / "same.toml").write_text(WHOLE, encoding="utf-8")
    (subject,) = read(tmp_path).subjects
    assert [program.name for program in subject.programs] == ["python/same", "python/same#1"]


@pytest.mark.parametrize(
    ("whole", "broken", "said"),
    [
        ('language = "python"', 'language = "cobol"', "language must be one of"),
        ('context = "Return it."', "", "context must be text"),
        ("[[tests]]", "[[trials]]", r"\[\[tests\]\]"),
        ('expected = "1"', "", "either `expected` or `raises`"),
        ('call = "same(1)"', "call = ", "same.toml"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path: Path, whole: str, broken: str, said: str) -> None:
    (tmp_path / "forward").mkdir()
    path = tmp_path / "forward" / "same.toml"
    path.write_text(WHOLE.replace(whole, broken), encoding="utf-8")
    with pytest.raises(CorpusFault, match=said) as raised:
        read(tmp_path)
    assert str(path) in str(raised.value)
