"""Bodies and parameters in: strict JSON, checked against a schema; every fault is an `InvalidInput` that names the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from flask import Request
from marshmallow import EXCLUDE, Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from shared.kernel.errors import InvalidInput, Unprocessable

NOT_JSON = "the body is not UTF-8 JSON"


class Fields(Schema):
    """The base of every schema. Unknown fields are ignored on the way in, and not forbidden to clients on the way out.

    `is_semantic`: what breaks the schema is JSON all the same, and 422 rather than 400. `may_be_absent`: no body reads as `{}`.
    `names_its_faults`: its messages name their field themselves.
    """

    is_semantic: ClassVar[bool] = False
    may_be_absent: ClassVar[bool] = False
    names_its_faults: ClassVar[bool] = False

    class Meta:
        """What marshmallow calls options."""

        unknown = EXCLUDE


class StrictParser(FlaskParser):
    """webargs, with faults from our tree."""

    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Return the JSON body of `req`."""
        if isinstance(schema, Fields) and schema.may_be_absent and not req.get_data(cache=True):
            return {}
        try:
            return read_json(req)
        except InvalidInput as fault:
            if fault.field is None:  # it is not even JSON
                raise
            raise _judged(fault, schema) from None

    def handle_error(
        self,
        error: ValidationError,
        req: Request,  # noqa: ARG002
        schema: Schema,
        *,
        error_status_code: int | None,  # noqa: ARG002
        error_headers: Mapping[str, str] | None,  # noqa: ARG002
    ) -> NoReturn:
        """Raise the first fault of a schema's findings."""
        fault = _first_fault(error.messages)
        if fault.field is not None and not (isinstance(schema, Fields) and schema.names_its_faults):
            fault = InvalidInput(f"{fault.field}: {fault.message}", field=fault.field)
        raise _judged(fault, schema)


def read_json(request: Request) -> Any:
    """Return the body as JSON values. Raises `InvalidInput`, `UnsupportedMediaType`, `RequestEntityTooLarge`."""
    content = request.get_data(cache=True)
    if request.content_length is None and len(content) >= (request.max_content_length or 0):
        raise RequestEntityTooLarge  # a body that states no length is cut off at the limit without a word
    if not content:
        raise InvalidInput("a JSON body is required")
    if request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise UnsupportedMediaType
    try:
        value = json.loads(content.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidInput(NOT_JSON) from None
    _refuse_unstorable_text(value)
    return value


def refuse_nul(text: str, *, field: str) -> None:
    """Raise `InvalidInput` for a NUL character: no id holds one, and PostgreSQL stores none."""
    if "\x00" in text:
        raise InvalidInput("NUL characters are not allowed", field=field)


def _refuse_unstorable_text(value: Any) -> None:
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            waiting += [*current.keys(), *current.values()]
        elif isinstance(current, list):
            waiting += current
        elif isinstance(current, str):
            refuse_nul(current, field="body")
            if not current.isascii() and any("\ud800" <= character <= "\udfff" for character in current):
                raise InvalidInput("lone surrogates are not allowed", field="body")


def _first_fault(messages: Any) -> InvalidInput:
    """Take `{"json": {"request": ["Missing data…"]}}` apart, down to the first message."""
    path: list[str] = []
    while isinstance(messages, Mapping) and messages:
        name, messages = next(iter(messages.items()))
        path.append(str(name))
    text = str(messages[0]) if isinstance(messages, list) and messages else "Invalid value."
    named = [name for name in path[1:] if name != "_schema"]
    if not named:
        return InvalidInput("the body must be a JSON object")
    return InvalidInput(text, field=".".join(named))


def _judged(fault: InvalidInput, schema: Schema) -> InvalidInput:
    is_semantic = isinstance(schema, Fields) and schema.is_semantic
    return Unprocessable(fault.message, field=fault.field) if is_semantic else fault


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)
