"""Contract operations without an implementation: each stands in the served document, answers 501 and says why."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

from flask import Flask

from web.door import Api
from web.problems import NotBuilt

_PARAMETER = re.compile(r"\{([A-Za-z_]+)\}")


@dataclass(frozen=True)
class Unbuilt:
    """Operations of one tag that are missing for one reason: a clause that ends a sentence. `about`: the tag in a few words."""

    tag: str
    about: str
    reason: str
    operations: tuple[tuple[str, str, str], ...]
    """(method, path, operationId), as the contract has them."""


def refuse_all(app: Flask, api: Api, groups: Iterable[Unbuilt]) -> None:
    """Let every operation of `groups` answer 501, and stand in the document of `api` with nothing but that."""
    for group in groups:
        for method, path, name in group.operations:
            endpoint = f"not_built.{name}"
            rule = _PARAMETER.sub(r"<\1>", path)
            refusal = _Refusal(name, group.reason)
            app.add_url_rule(rule, endpoint=endpoint, view_func=refusal, methods=[method], defaults={})
            described = _described(group, name, api)
            found = next(app.url_map.iter_rules(endpoint))
            api.describe(found, described, method=method, tag=group.tag, about=group.about)


def _described(group: Unbuilt, name: str, api: Api) -> dict[str, Any]:
    refusal = {
        "description": f"Not built: {group.reason}",
        "content": {"application/json": {"schema": api.ERROR_SCHEMA}},
    }
    return {
        "operationId": name,
        "tags": [group.tag],
        "summary": "Not built",
        "description": f"Answers 501, whatever is sent: {group.reason}.",
        "responses": {str(int(HTTPStatus.NOT_IMPLEMENTED)): refusal},
    }


class _Refusal:
    """A view that names the operation it stands in for."""

    def __init__(self, name: str, reason: str) -> None:
        self.__name__ = name
        self._message = f"{name} is not implemented: {reason}"

    def __call__(self, **_parameters: str) -> NoReturn:
        raise NotBuilt(self._message)
