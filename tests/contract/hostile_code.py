"""Texts that break whoever decodes, trims, normalises or repairs source code. PostgreSQL and JSON can hold all of them."""

from __future__ import annotations

import random
from collections.abc import Iterator

KNOWN = (
    "\ufeffdef add(a, b):\r\n\treturn a - b\r\n",
    "d = {'a': 1}\n\n\ndef add(a, b):\n    return a + b",
    'x = """```python\n}]\n```"""\n',
    "def 名前(𝒳):\n    return '🎉\\u0000' + 𝒳  # \u202e\n\n\n   ",
    "\u2028function add(a, b) { return `${a}</script>` }\n\x0b\x0c",
    "}" * 500,
    "e\u0301 and \u00e9 are not the same text",
    "\r\r\n\n\rx\x85y\x7f",
)
_ALPHABET = "abc(){}[]'\"`\\\n\r\t #/*=<>;:.é𝒳\u200b\ufeff\u202e\U0010ffff\x01\x1f0123456789"


def hostile_texts(count: int, *, seed: int = 6) -> Iterator[str]:
    """Yield the known ones and `count` made at random, none of them blank."""
    yield from KNOWN
    chance = random.Random(seed)
    for _ in range(count):
        yield "x" + "".join(chance.choices(_ALPHABET, k=chance.randrange(1, 300)))
