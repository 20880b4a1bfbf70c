"""Contract operations without an implementation: each answers 501 and says so, none pretends and none is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NoReturn

from flask import Flask

from web.problems import NotBuilt

_PARAMETER = re.compile(r"\{([A-Za-z_]+)\}")


def refuse_all(app: Flask, operations: Iterable[tuple[str, str, str]], *, reason: str) -> None:
    """Let every (method, path, operationId) answer 501."""
    for method, path, name in operations:
        app.add_url_rule(
            _PARAMETER.sub(r"<\1>", path),
            endpoint=f"not_built.{name}",
            view_func=_Refusal(name, reason),
            methods=[method],
        )


class _Refusal:
    """A view that names the operation it stands in for."""

    def __init__(self, name: str, reason: str) -> None:
        self.__name__ = name
        self._message = f"{name} is not implemented: {reason}"

    def __call__(self, **_parameters: str) -> NoReturn:
        raise NotBuilt(self._message)
