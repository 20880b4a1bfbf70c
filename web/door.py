"""How a route is declared: one decorator joins address, parameters, answer and its place in the served document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar

import flask_smorest  # type: ignore[import-untyped] # it ships no types; only this module touches it
from flask import Flask, request
from marshmallow import Schema
from werkzeug.routing import Rule

from shared.kernel.errors import InvalidInput
from web.body import Fields, StrictParser, refuse_nul
from web.idempotency import belongs_to, idempotent

View = TypeVar("View", bound=Callable[..., Any])

GREATEST_INTEGER = 2**53 - 1

BODY_FAULTS = (409, 413, 415, 422)
"""What a POST can answer besides its own: key in use, too large, not JSON, key reused (`docs/supersets.md`)."""
BODYLESS_FAULTS = (400, 409, 413, 422)
"""The same of one that reads no body: malformed can only be the key."""


_OBJECT = {"schema": {"type": "object"}}
_EVENTS = {"text/event-stream": {"schema": {"type": "string"}}}


@dataclass(frozen=True)
class Guard:
    """Who may call, asked before anything of the body or the query is read.

    `admit` gets the path's parameters and names the caller, to whom an Idempotency-Key then belongs. `ready` gets them too, and
    refuses in the present state of things, once an answer kept under the key has had its chance. `scheme`: the document's name of
    the credential; `alternatives` do as well, and with `is_optional` none at all. `refusals`: the statuses that it adds.
    """

    scheme: str
    admit: Callable[..., str]
    ready: Callable[..., None] | None = None
    alternatives: tuple[str, ...] = ()
    is_optional: bool = False
    refusals: tuple[int, ...] = ()

    @property
    def security(self) -> list[dict[str, list[str]]]:
        """What the served document says of it."""
        shown: list[dict[str, list[str]]] = [{name: []} for name in (self.scheme, *self.alternatives)]
        return [*shown, {}] if self.is_optional else shown


@dataclass(frozen=True)
class Answers:
    """What an operation may answer. `schema` is of `status`; `also` maps further statuses to other schemas than the error's."""

    schema: type[Schema] | None
    status: int = 200
    errors: tuple[int, ...] = (500,)
    also: dict[int, type[Schema]] | None = None
    media_type: str | None = None
    streams: bool = False
    """Whether the answer may come as server-sent events instead."""
    alternatives: tuple[str, ...] = ()
    """Media types in which the answer may come instead, where the caller accepts them."""


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

    def describe(self, rule: Rule, operation: dict[str, Any], *, method: str, tag: str, about: str) -> None:
        """Put into the document an operation that no blueprint declares; its tag too, unless it is there."""
        if tag not in {known["name"] for known in self.spec._tags}:  # the library keeps no public list
            self.spec.tag({"name": tag, "description": about})
        self.spec.path(rule=rule, operations={method.lower(): operation})

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
            declared = self._declared(view, name, answers, faults=((400,) if query else ()) + _refusals(guard))
            if query is not None:
                declared = _of_plain_query(self.arguments(query, location="query")(_of_countable_numbers(declared)))
            if guard is not None:
                declared = _admitting(guard, self.doc(security=guard.security)(declared))
            place = {"methods": ["GET"], "tags": [self.name], "parameters": parameters}
            self.add_url_rule(rule, endpoint=name, view_func=declared, **place)
            return view

        return declare

    def post(
        self,
        rule: str,
        name: str,
        answers: Answers,
        *,
        body: type[Fields] | None = None,
        guard: Guard | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Callable[[View], View]:
        """Declare `POST rule` with operationId `name`; it honours Idempotency-Key. Without `body` it reads none.

        `headers`: what the document says of each optional header besides.
        """

        def declare(view: View) -> View:
            faults = (BODY_FAULTS if body else BODYLESS_FAULTS) + _refusals(guard)
            declared = self._declared(view, name, answers, faults=faults)
            if body is not None:
                declared = self.arguments(body, required=not body.may_be_absent)(declared)
            declared = self.doc(**_described(headers))(declared)
            if guard is None:
                declared = idempotent(declared)
            else:
                declared = self.doc(security=guard.security)(declared)
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
        body: type[Fields] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Callable[[View], View]:
        """Declare `PUT`, `PATCH` or `DELETE rule` with operationId `name`: whoever changes what is there shows a credential.

        `headers`: what the document says of each optional header.
        """

        def declare(view: View) -> View:
            declared = self._declared(view, name, answers, faults=((413, 415) if body else ()) + guard.refusals)
            if body is not None:
                declared = self.arguments(body, required=not body.may_be_absent)(declared)
            declared = self.doc(security=guard.security, **_described(headers))(declared)
            self.add_url_rule(
                rule, endpoint=name, view_func=_admitting(guard, declared), methods=[method], tags=[self.name]
            )
            return view

        return declare

    def _declared(self, view: Callable[..., Any], name: str, answers: Answers, *, faults: tuple[int, ...]) -> Any:
        declared: Any = view
        also = answers.also or {}
        for status in sorted({*answers.errors, *faults} - set(also)):  # of two for one status the first would stand
            declared = self.alt_response(status, HTTPStatus(status).name)(declared)
        for status, schema in also.items():
            declared = self.alt_response(status, schema=schema)(declared)
        declared = self.response(answers.status, answers.schema, content_type=answers.media_type)(declared)
        content = {**(_EVENTS if answers.streams else {}), **dict.fromkeys(answers.alternatives, _OBJECT)}
        if content:
            declared = self.doc(responses={answers.status: {"content": content}})(declared)
        return self.doc(operationId=name)(declared)


def _admitting(guard: Guard, view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def admitted(*args: Any, **parameters: Any) -> Any:
        belongs_to(guard.admit(**parameters))
        return view(*args, **parameters)

    return admitted


def _described(headers: Mapping[str, str] | None) -> dict[str, Any]:
    shown = [
        {"in": "header", "name": name, "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in (headers or {}).items()
    ]
    return {"parameters": shown} if shown else {}


def _refusals(guard: Guard | None) -> tuple[int, ...]:
    return guard.refusals if guard else ()


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
