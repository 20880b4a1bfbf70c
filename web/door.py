"""How a route is declared: one decorator joins address, parameters, answer and its place in the served document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import flask_smorest  # type: ignore[import-untyped] # it ships no types; only this module touches it
from flask import Flask
from marshmallow import Schema

from web.body import StrictParser
from web.idempotency import idempotent

View = TypeVar("View", bound=Callable[..., Any])

BODY_FAULTS = (409, 413, 415, 422)
"""What a POST can answer besides its own: key in use, too large, not JSON, key reused (`docs/supersets.md`)."""


@dataclass(frozen=True)
class Answers:
    """What an operation may answer. `schema` is of `status`; `also` maps further statuses to other schemas than the error's."""

    schema: type[Schema] | None
    status: int = 200
    errors: tuple[int, ...] = (500,)
    also: dict[int, type[Schema]] | None = None
    media_type: str | None = None


class Api(flask_smorest.Api):  # type: ignore[misc]
    """One served document. Its error handlers would be app-wide and the last one would win, so it registers none."""

    DEFAULT_ERROR_RESPONSE_NAME = None

    def __init__(self, app: Flask, *, prefix: str, error_schema: type[Schema], options: dict[str, Any]) -> None:
        self.ERROR_SCHEMA = error_schema
        super().__init__(app, config_prefix=prefix, spec_kwargs={"openapi_version": "3.1.0", **options})

    def _register_error_handlers(self) -> None:
        """`web.problems` answers for every path."""

    def _register_etag_headers(self) -> None:
        """No answer carries the framework's ETags."""

    def _register_pagination_header(self) -> None:
        """Pages are in the body, as the contracts have them."""

    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document as plain values."""
        described: dict[str, Any] = self.spec.to_dict()
        return described


class Operations(flask_smorest.Blueprint):  # type: ignore[misc]
    """The operations of one tag."""

    ARGUMENTS_PARSER = StrictParser()

    def get(
        self,
        rule: str,
        name: str,
        answers: Answers,
        *,
        query: type[Schema] | None = None,
        parameters: list[dict[str, Any]] | None = None,
    ) -> Callable[[View], View]:
        """Declare `GET rule` with operationId `name`; the view's docstring is its summary. `parameters` describe the path's."""

        def declare(view: View) -> View:
            declared = self._declared(view, name, answers, faults=(400,) if query else ())
            if query is not None:
                declared = self.arguments(query, location="query")(declared)
            place = {"methods": ["GET"], "tags": [self.name], "parameters": parameters}
            self.add_url_rule(rule, endpoint=name, view_func=declared, **place)
            return view

        return declare

    def post(self, rule: str, name: str, answers: Answers, *, body: type[Schema]) -> Callable[[View], View]:
        """Declare `POST rule` with operationId `name`; it honours Idempotency-Key."""

        def declare(view: View) -> View:
            declared = self.arguments(body)(self._declared(view, name, answers, faults=BODY_FAULTS))
            self.add_url_rule(rule, endpoint=name, view_func=idempotent(declared), methods=["POST"], tags=[self.name])
            return view

        return declare

    def _declared(self, view: Callable[..., Any], name: str, answers: Answers, *, faults: tuple[int, ...]) -> Any:
        declared: Any = view
        for status in sorted({*answers.errors, *faults}):
            declared = self.alt_response(status, HTTPStatus(status).name)(declared)
        for status, schema in (answers.also or {}).items():
            declared = self.alt_response(status, schema=schema)(declared)
        declared = self.response(answers.status, answers.schema, content_type=answers.media_type)(declared)
        return self.doc(operationId=name)(declared)
