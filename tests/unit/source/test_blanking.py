"""Comments and docstrings are blanked; nothing else is, and no line moves."""

from __future__ import annotations

import ast
import io
import sysconfig
import tokenize
from pathlib import Path

import pytest

from shared.source.blanking import without_comments
from shared.source.quiet import no_warnings

STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])


@pytest.mark.parametrize(
    ("language", "code", "shown"),
    [
        ("python", "#!/usr/bin/env python\n# coding: utf-8\nx = 1  # one\n", "\n\nx = 1\n"),
        ("python", 's = "# kept"; t = f"{s} # kept {s:#>4}"\n', 's = "# kept"; t = f"{s} # kept {s:#>4}"\n'),
        ("python", '"""Ä module."""\nclass A:\n    "a class"\n', '\nclass A:\n    ""\n'),
        ("python", 'def f():\n    r"""\n    says\n    """\n    return 1\n', 'def f():\n    ""\n\n\n    return 1\n'),
        ("python", 'def f(): "says"; return 1\n', 'def f(): ""    ; return 1\n'),
        ("python", 'def f():\n    ("says"\n     "more")\n', 'def f():\n    ""\n\n'),
        ("python", 'x = 1\n"""of x"""\n', "x = 1\n\n"),
        ("python", "x = 1  # a lie\ry = 2\n", "x = 1         \ry = 2\n"),
        ("python", 'f"{x}"\n"""a %s""" % 1\n', 'f"{x}"\n"""a %s""" % 1\n'),
        ("javascript", "#!/usr/bin/env node\na /* b */ = 1 // c\n", "\na         = 1\n"),
        (
            "javascript",
            "r = /[/*]/; s = '//'; t = `//${ u /* v */ } /* w */`\n",
            "r = /[/*]/; s = '//'; t = `//${ u         } /* w */`\n",
        ),
        ("javascript", "q = a / b / c // d\u2028e()\n", "q = a / b / c     \u2028e()\n"),
        ("javascript", "x = y<!--z\n", "x = y<!--z\n"),
        ("javascript", "v = <b title='//'>{/* no */} // text</b>\n", "v = <b title='//'>{        } // text</b>\n"),
        ("typescript", "/** @returns the sum */\nlet f = (a: T /* t */) => a\n", "\nlet f = (a: T        ) => a\n"),
        ("go", "x := `// raw` // c\n", "x := `// raw`\n"),
        ("java", 'String s = "/* */"; /** d */\n', 'String s = "/* */";\n'),
        ("rust", '/// d\nlet s = r#"// "#; /* a /* b */ c */\n', '\nlet s = r#"// "#;\n'),
        ("c", "int a = '\"'; // b \\\nc\nint d;\n", "int a = '\"';\n\nint d;\n"),
        ("cpp", 'auto s = R"(// no)"; // c\n', 'auto s = R"(// no)";\n'),
        ("ruby", 'x = "#{a} # no" # c\n=begin\nb\n=end\n', 'x = "#{a} # no"\n\n\n\n'),
        ("cobol", "* stays\n", "* stays\n"),
    ],
)
def test_what_people_say_is_blanked_and_what_the_machine_reads_is_not(language: str, code: str, shown: str) -> None:
    found = without_comments(code, language)
    assert len(found) == len(code)
    assert _stripped(found) == _stripped(shown)


def test_the_standard_library_keeps_its_code_and_loses_every_comment_and_docstring() -> None:
    paths = sorted(STANDARD_LIBRARY.glob("*.py"))[::12]
    assert len(paths) > 10
    for path in paths:
        code = path.read_text(encoding="utf-8", errors="surrogateescape")
        if not code.isprintable() and "\udc80" <= max(code) <= "\udcff":
            continue
        found = without_comments(code, "python")
        assert not _comments(found), path.name
        assert _tokens(found) == _tokens(code), path.name
        with no_warnings():
            tree = ast.parse(found)
        said = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert not any(said), path.name
        assert not ast.get_docstring(tree)


def _stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.split("\n")]


def _comments(code: str) -> list[str]:
    return [token.string for token in _read(code) if token.type == tokenize.COMMENT]


def _tokens(code: str) -> list[str]:
    """Return the code's tokens, less comments, layout, and statements that are a bare string."""
    tokens = [
        token
        for token in _read(code)
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
    ]
    kept: list[str] = []
    starts_statement = True
    for place, token in enumerate(tokens):
        if token.type == tokenize.STRING and starts_statement:
            after = tokens[place + 1]
            if after.type in (tokenize.NEWLINE, tokenize.STRING) or after.string == ";":
                continue
        if token.type == tokenize.NEWLINE:
            starts_statement = True
            continue
        starts_statement = token.string in (":", ";")
        kept.append(token.string)
    return kept


def _read(code: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(code).readline))
