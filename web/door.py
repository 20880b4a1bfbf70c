"""How a route is declared: one decorator joins address, parameters, answer and its place in the served document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar

import flask_smorest  # type: ignore[import-untyped] # it ships no types; only this module touches it
from flask import Flask, request
from marshmallow import Schema

from shared.kernel.errors import InvalidInput
from web.body import StrictParser, refuse_nul
from web.idempotency import belongs_to, idempotent

View = TypeVar("View", bound=Callable[..., Any])

GREATEST_INTEGER = 2**53 - 1

BODY_FAULTS = (409, 413, 415, 422)
"""What a POST can answer besides its own: key in use, too large, not JSON, key reused (`docs/supersets.md`)."""


@dataclass(frozen=True)
class Guard:
    """Who may call, asked before anything of the body or the query is read.

    `admit` gets the path's parameters and names the caller, to whom an Idempotency-Key then belongs. `ready` gets them too, and
    refuses in the present state of things, once an answer kept under the key has had its chance. `scheme`: the document's name of
    the credential.
    """

    scheme: str
    admit: Callable[..., str]
    ready: Callable[..., None] | None = None


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
        guard: Guard | None = None,
    ) -> Callable[[View], View]:
        """Declare `GET rule` with operationId `name`; the view's docstring is its summary. `parameters` describe the path's."""

        def declare(view: View) -> View:
            declared = self._declared(view, name, answers, faults=(400,) if query else ())
            if query is not None:
                declared = _of_plain_query(self.arguments(query, location="query")(_of_countable_numbers(declared)))
            if guard is not None:
                declared = _admitting(guard, self.doc(security=[{guard.scheme: []}])(declared))
            place = {"methods": ["GET"], "tags": [self.name], "parameters": parameters}
            self.add_url_rule(rule, endpoint=name, view_func=declared, **place)
            return view

        return declare

    def post(
        self, rule: str, name: str, answers: Answers, *, body: type[Schema], guard: Guard | None = None
    ) -> Callable[[View], View]:
        """Declare `POST rule` with operationId `name`; it honours Idempotency-Key."""

        def declare(view: View) -> View:
            declared = self.arguments(body)(self._declared(view, name, answers, faults=BODY_FAULTS))
            if guard is None:
                declared = idempotent(declared)
            else:
                declared = self.doc(security=[{guard.scheme: []}])(declared)
                declared = _admitting(guard, idempotent(_when_ready(guard, declared)))
            self.add_url_rule(rule, endpoint=name, view_func=declared, methods=["POST"], tags=[self.name])
            return view

        return declare

    def change(
        self,
        method: str,
        rule: str,
        name: str,
        answers: Answers,
        *,
        guard: Guard,
        body: type[Schema] | None = None,
    ) -> Callable[[View], View]:
        """Declare `PUT`, `PATCH` or `DELETE rule` with operationId `name`: whoever changes what is there shows a credential."""

        def declare(view: View) -> View:
            declared = self._declared(view, name, answers, faults=(413, 415) if body else ())
            if body is not None:
                declared = self.arguments(body)(declared)
            declared = self.doc(security=[{guard.scheme: []}])(declared)
            self.add_url_rule(
                rule, endpoint=name, view_func=_admitting(guard, declared), methods=[method], tags=[self.name]
            )
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


def _admitting(guard: Guard, view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def admitted(*args: Any, **parameters: Any) -> Any:
        belongs_to(guard.admit(**parameters))
        return view(*args, **parameters)

    return admitted


def _when_ready(guard: Guard, view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def checked(*args: Any, **parameters: Any) -> Any:
        if guard.ready is not None:
            guard.ready(**parameters)
        return view(*args, **parameters)

    return checked


def _of_plain_query(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let `view` refuse NUL in its query. An operation that reads no query does not care what is in it, and declares no 400."""

    @wraps(view)
    def guarded(*args: Any, **parameters: Any) -> Any:
        for name, values in request.args.lists():
            for text in (name, *values):
                refuse_nul(text, field="query")
        return view(*args, **parameters)

    return guarded


def _of_countable_numbers(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let `view`, which gets a read query, refuse integers that not every reader of JSON holds (RFC 7493), nor the database counts to."""

    @wraps(view)
    def guarded(query: dict[str, Any], *args: Any, **parameters: Any) -> Any:
        for name, value in query.items():
            if isinstance(value, int) and abs(value) > GREATEST_INTEGER:
                raise InvalidInput(f"{name}: the number is too large", field=name)
        return view(query, *args, **parameters)

    return guarded
