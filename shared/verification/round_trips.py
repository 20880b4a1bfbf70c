"""The round trip as a witness: where the code can take a function's result back, that says which of two results came from the input.

`decode(encode("ab"))` gives "ab" where both are right, so of two values that `encode("ab")` might give, the one that `decode` turns into
"ab" has a witness. One that neither, or both, come back from has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from shared.sandbox.model import Probe
from shared.verification.literals import arguments, last_brackets

_BACK = {
    "encode": "decode",
    "encrypt": "decrypt",
    "encipher": "decipher",
    "compress": "decompress",
    "serialize": "deserialize",
    "marshal": "unmarshal",
    "pack": "unpack",
    "escape": "unescape",
    "quote": "unquote",
    "flatten": "unflatten",
    "stringify": "parse",
    "format": "parse",
    "dump": "load",
    "dumps": "loads",
    "to": "from",
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_WAYS = ("to", "2")


def inverse_of(name: str, names: Iterable[str]) -> str | None:
    """Return which of `names` takes back what `name` gives, as far as names tell: one word exchanged for its counterpart, or two places."""
    wanted = _counterparts(_words(name))
    return next((other for other in names if other != name and _words(other) in wanted), None)


def way_back(probe: Probe, name: str, inverse: str, value: str) -> Probe | None:
    """Return the call of `inverse` that takes `value` back to what `name` was first called with; None where the probe is no such call."""
    brackets = last_brackets(probe.call)
    given = arguments(probe.call)
    if brackets is None or brackets[1] != len(probe.call) or not given or probe.setup or probe.raises is not None:
        return None
    if probe.call[: brackets[0]] != name:
        return None
    return Probe(call=f"{inverse}({', '.join((value, *given[1:]))})", expected=given[0])


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(name))


def _counterparts(words: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    pairs = [*_BACK.items(), *((back, there) for there, back in _BACK.items())]
    exchanged = {
        (*words[:place], other, *words[place + 1 :])
        for place, word in enumerate(words)
        for one, other in pairs
        if one == word
    }
    turned = {
        (*words[place + 1 :], way, *words[:place])
        for place, way in enumerate(words)
        if way in _WAYS and 0 < place < len(words) - 1
    }
    return frozenset(exchanged | turned)
