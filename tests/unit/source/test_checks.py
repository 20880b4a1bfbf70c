"""Faults that are seen without running, cuts that lose nothing, names of languages."""

from __future__ import annotations

import warnings

import pytest

from shared.source.checks import findings
from shared.source.languages import PARSEABLE, can_be_parsed, can_be_run, canonical, language_of, suffix_of
from shared.source.lines import excerpt, lines_of
from shared.source.pieces import Piece, pieces


@pytest.mark.parametrize(
    ("language", "code", "rule", "line", "severity"),
    [
        ("python", "def f():\n    return retrun\n", "pyflakes/undefined-name", 2, "high"),
        ("python", "def f(a, a): pass\n", "pyflakes/duplicate-argument", 1, "critical"),
        ("python", "x = 1\nreturn x\n", "pyflakes/return-outside-function", 2, "critical"),
        ("python", "'%s %s' % (1,)\n", "pyflakes/format", 1, "high"),
        ("python", "x = [1,\n", "syntax", 1, "critical"),
        ("python", "print 'old'\n", "syntax", 1, "critical"),
        ("python", "x = '\ud800'\n", "syntax", 1, "critical"),
        ("python", "x = 1\0\n", "syntax", 1, "critical"),
        ("javascript", "let a = 1;\nlet b = ;\n", "syntax", 2, "critical"),
        ("typescript", "let a: = 2;\n", "syntax", 1, "critical"),
        ("go", "package p\nfunc f( {}\n", "syntax", 2, "critical"),
        ("java", "class A { int f( { } }\n", "syntax", 1, "critical"),
        ("rust", "fn f() { let }\n", "syntax", 1, "critical"),
        ("c", "int f( {\n", "syntax", 1, "critical"),
        ("cpp", "class {{ int\n", "syntax", 1, "critical"),
        ("ruby", "def f\n  1 +\n", "syntax", 1, "critical"),
    ],
)
def test_a_fault_is_found_on_its_line(language: str, code: str, rule: str, line: int, severity: str) -> None:
    found = findings(code, language)
    assert (rule, line, severity) in [(one.rule, one.line, one.severity) for one in found]


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "import os\nimport sys\nunused = 1\ndef f():\n    x = f''\n"),
        ("python", "type Pair[T] = tuple[T, T]\ndef first[T](p: Pair[T]) -> T: return p[0]\n"),
        ("python", "d = {'a': 1}\ns = f'{d['a']}'\n"),
        ("typescript", "const a = { b: 1 } satisfies T; enum E { A }\n"),
        ("javascript", "class A { static #b = 1; static { A.#b++ } }\nexport default A?.b ?? 2\n"),
        ("cobol", "anything ( at all"),
    ],
)
def test_sound_code_has_no_findings_and_style_is_none_of_ours(language: str, code: str) -> None:
    assert findings(code, language) == []


def test_what_the_compiler_warns_of_is_told_to_nobody() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert (
            findings("import re\nre.compile('\\d')\nx = 1 is 1\n", "python")[0].rule == "pyflakes/identity-of-a-literal"
        )
    assert told == []


def test_code_is_cut_where_functions_begin() -> None:
    functions = [f"def f{n}():\n    a = {n}\n    return a\n\n" for n in range(6)]
    cut = pieces("".join(functions), "python", 80)
    assert [(one.first_line, one.last_line) for one in cut] == [(1, 8), (9, 16), (17, 24)]
    assert all(one.code.startswith("def ") for one in cut)


def test_a_class_that_is_too_long_is_cut_where_its_methods_begin() -> None:
    code = "class A:\n" + "".join(f"    def m{n}(self):\n        return {n}\n" for n in range(4))
    assert [one.first_line for one in pieces(code, "python", 90)] == [1, 6]


def test_a_line_that_is_too_long_is_cut_and_nothing_is_lost() -> None:
    code = "x = '" + "Ä🙂" * 50 + "'\r\ny\r"
    cut = pieces(code, "python", 30)
    assert "".join(one.code for one in cut) == code
    assert {len(one.code) <= 30 for one in cut} == {True}
    assert cut[-1].last_line == 2
    assert pieces("", "python", 10) == []
    assert pieces("x\n", "python", 10) == [Piece("x\n", 1, 1)]


def test_lines_are_a_texts_own() -> None:
    assert lines_of("a\r\nb\rc\n\nd") == ["a\r\n", "b\r", "c\n", "\n", "d"]
    assert excerpt("a\r\nb\rc\n", 2, 3) == "b\rc"
    assert excerpt("a\n", 5, 9) == ""


def test_a_language_has_one_name() -> None:
    names = ("py", " Python3 ", "TSX", "js", "C++", "golang", "Rust", "rb", "h")
    assert [canonical(name) for name in names] == [
        "python",
        "python",
        "typescript",
        "javascript",
        "cpp",
        "go",
        "rust",
        "ruby",
        "c",
    ]
    assert canonical("Brainf\0uck\n") == "Brainfuck"
    assert len(canonical("x" * 10_000)) == 40
    assert canonical(" \t") == ""
    assert all(canonical(name) == name and can_be_parsed(name) for name in PARSEABLE)
    assert [can_be_run(name) for name in ("ts", "py", "go", "")] == [True, True, False, False]
    assert language_of("a/B.TSX") == "typescript"
    assert language_of("README") is None
    assert (suffix_of("js"), suffix_of("cobol")) == (".js", ".txt")
