"""The documented tokenizer of the simulated model. Joining the tokens gives the text back."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = re.compile(r"\s*(?:\w{1,8}|[^\w\s])|\s+\Z")
_PER_MESSAGE = 3
_PER_PROMPT = 3


def split_tokens(text: str) -> list[str]:
    """Return the tokens of `text`: up to eight word characters or one other, each with the white space before it."""
    return _TOKEN.findall(text)


def count_prompt_tokens(texts: Iterable[str]) -> int:
    """Return what a prompt of these message texts costs."""
    return _PER_PROMPT + sum(_PER_MESSAGE + len(split_tokens(text)) for text in texts)
