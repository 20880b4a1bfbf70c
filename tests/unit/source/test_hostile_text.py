"""Whatever is submitted as code is read in bounded time, without an exception, and shown with nothing of it altered."""

from __future__ import annotations

import os
import random
import time

import pytest

from shared.source.blanking import without_comments
from shared.source.checks import findings
from shared.source.languages import PARSEABLE
from shared.source.outline import outline
from shared.source.pieces import pieces
from shared.source.trees import PARSE_TIME_S

TEXTS = 100_000 if os.environ.get("LUCID_SOAK") else 1_000
LONGEST_S = 10.0
LANGUAGES = (*sorted(PARSEABLE), "cobol")
PARTS = (
    *"()[]{}<>:;,.=+-*/%#@!?&|^~\\'\"`$_ \t\n\r\0\x0c\x1c\x85\u2028\u2029\ufeff",
    *("\r\n", "  ", "\n    ", "\n\t", '"""', "'''", "//", "/*", "*/", "/**", "<!--", "-->", "#!", "=begin\n", "=end\n"),
    *(
        "//x\n",
        "#x\n",
        "/* x */",
        '"#"',
        "'//'",
        "`//${",
        "${",
        "`/*`",
        "/[/*]/",
        'R"(',
        ')"',
        'r#"',
        '"#',
        "<<~A\n",
        "A\n",
    ),
    *(
        "def ",
        "class ",
        "return ",
        "async ",
        "await ",
        "lambda ",
        "f'{",
        "b''",
        "import ",
        "if ",
        "else:",
        "yield ",
        "@d\n",
    ),
    *(
        "function ",
        "=> ",
        "const ",
        "export ",
        "default ",
        "<div>",
        "</div>",
        "interface ",
        "namespace ",
        "as any",
        "get ",
    ),
    *(
        "func ",
        "fn ",
        "impl ",
        "struct ",
        "pub ",
        "static ",
        "template<",
        "public ",
        "void ",
        "end\n",
        "do |x|",
        "mod ",
    ),
    *(
        "module.exports = ",
        "x",
        "y1",
        "Ä",
        "名前",
        "🙂",
        "\ud800",
        "\udfff",
        "0",
        "1e9",
        "0x",
        "9" * 40,
        "int ",
        "self",
        "this",
    ),
)
LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def made_text(chance: random.Random) -> str:
    """Return tokens at random, now and then one that is repeated often."""
    parts = [chance.choice(PARTS) * (chance.choice((1, 1, 1, 1, 30))) for _ in range(chance.randrange(1, 60))]
    return "".join(parts)


def require_sound(code: str, language: str) -> None:
    """Read a text in every way there is, and require what is promised of each."""
    shown = without_comments(code, language)
    assert len(shown) == len(code)
    assert len(shown.splitlines()) == len(code.splitlines())
    assert all(
        after in (before, " ", '"') and (before not in LINE_ENDS or after == before)
        for before, after in zip(code, shown, strict=True)
    )
    most = len(code) // 3 + 1
    cut = pieces(code, language, most)
    assert "".join(piece.code for piece in cut) == code
    assert all(0 < len(piece.code) <= most for piece in cut)
    read = outline(code, language)
    lines = code.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    assert all(1 <= function.first_line <= function.last_line <= lines for function in read.functions)
    assert all(1 <= line <= lines for line in read.fault_lines)
    for finding in findings(code, language):
        assert 1 <= finding.line <= lines
        finding.message.encode()
    for function in read.functions:
        repr(function).encode()
        assert "\0" not in function.signature + function.qualified + "".join(function.parameters)


def test_no_text_is_altered_and_none_stops_the_reader() -> None:
    chance = random.Random(6)
    for number in range(TEXTS):
        code, language = made_text(chance), LANGUAGES[number % len(LANGUAGES)]
        began = time.process_time()
        require_sound(code, language)
        assert time.process_time() - began < LONGEST_S, (language, code)


@pytest.mark.parametrize("language", ["python", "typescript", "cpp"])
@pytest.mark.parametrize("part", ["[", "(a:", "f('", "-", "def f():\n", "{", "a<b<", '"x";', "`${"])
def test_a_long_text_of_one_token_is_read_in_bounded_time(language: str, part: str) -> None:
    size = 1_000_000 if os.environ.get("LUCID_SOAK") else 6_000
    began = time.process_time()
    require_sound(part * (size // len(part)), language)
    assert time.process_time() - began < 4 * LONGEST_S


def test_a_grammar_that_comes_to_no_end_is_stopped_once_for_all_readers() -> None:
    """Fifteen characters that keep tree-sitter's TSX busy for ever; as TypeScript they are read at once."""
    began = time.process_time()
    require_sound('[b\'\',[!s)")")")', "typescript")
    assert time.process_time() - began < 2 * PARSE_TIME_S
