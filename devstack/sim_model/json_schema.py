"""Documents that are valid under a JSON Schema, as a function of a seed. Every document is checked before it is given."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jsonschema
from jsonschema.protocols import Validator

from devstack.sim_model.patterns import UnsupportedPattern, matching_text

Scene = Mapping[str, Sequence[Any]]
"""Property name → values to try, best first, before anything is invented."""

_SHALLOW = 5
"""Deeper than this, optional properties and recursive alternatives are left out."""
_DEEPEST = 40
_LINE = (
    "amber anchor apple basin birch bridge candle canyon cedar cobalt coral delta ember falcon garden harbor "
    "indigo island juniper lantern maple meadow mirror north oasis orbit paper pebble quartz river saddle silver "
    "spruce stone summit tide timber valley velvet willow winter yarrow"
)
_WORDS = tuple(_LINE.split())
_KEYWORD_TYPES = {
    "properties": "object",
    "required": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "minimum": "number",
    "maximum": "number",
    "multipleOf": "number",
}


class UnsupportedSchema(ValueError):
    """The schema is invalid, can't be satisfied, or uses what this generator does not know."""


def valid_document(schema: Mapping[str, Any], *, seed: int, scenes: Sequence[Scene] = ()) -> Any:
    """Return a document valid under `schema`; each object takes the next of `scenes`. Raises `UnsupportedSchema`."""
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
        writer = _Writer(schema, random.Random(seed), scenes)
        document = writer.value(schema, 0)
        if writer.holds(schema, document):
            return document
    except (jsonschema.SchemaError, UnsupportedPattern, RecursionError) as error:
        raise UnsupportedSchema("the schema is invalid or beyond this generator") from error
    raise UnsupportedSchema("the generator found no document valid under the schema")


def is_valid(schema: Mapping[str, Any], document: object) -> bool:
    """Say whether `document` is valid under `schema`."""
    return bool(jsonschema.Draft202012Validator(schema).is_valid(document))


class _Writer:
    def __init__(self, root: Mapping[str, Any], rng: random.Random, scenes: Sequence[Scene]) -> None:
        self._root = root
        self._rng = rng
        self._scenes = scenes
        self._objects = 0
        self._validator: Validator = jsonschema.Draft202012Validator(root)
        self._makers: dict[str, Callable[[Mapping[str, Any], int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": lambda schema, _: self._string(schema),
            "integer": lambda schema, _: self._number(schema, whole=True),
            "number": lambda schema, _: self._number(schema, whole=False),
            "boolean": lambda *_: self._rng.random() < 0.5,
            "null": lambda *_: None,
        }

    def holds(self, schema: Any, value: Any) -> bool:
        return bool(self._validator.evolve(schema=schema).is_valid(value))

    def value(self, schema: Any, depth: int) -> Any:
        if depth > _DEEPEST or schema is False:
            raise UnsupportedSchema("the schema can't be satisfied within 40 levels")
        if schema is True:
            return self._string({})
        if "$ref" in schema:
            rest = {key: part for key, part in schema.items() if key != "$ref"}
            return self.value({**self._referenced(schema["$ref"]), **rest}, depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._rng.choice(schema["enum"])
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._alternative(schema, keyword, depth)
        if "allOf" in schema:
            return self.value(self._merged(schema), depth + 1)
        return self._makers[self._type(schema, depth)](schema, depth)

    def _referenced(self, pointer: str) -> Mapping[str, Any]:
        if not pointer.startswith("#"):
            raise UnsupportedSchema(f"only references within the schema are followed, not {pointer!r}")
        found: Any = self._root
        for part in pointer[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or key not in found:
                raise UnsupportedSchema(f"the reference {pointer!r} leads nowhere")
            found = found[key]
        return found if isinstance(found, Mapping) else {}

    def _alternative(self, schema: Mapping[str, Any], keyword: str, depth: int) -> Any:
        base = {key: part for key, part in schema.items() if key != keyword}
        options = list(schema[keyword])
        self._rng.shuffle(options)
        if depth > _SHALLOW:
            options.sort(key=lambda option: len(str(option)) + 1000 * ("$ref" in str(option)))
        for option in options:
            combined = self._merged({**base, "allOf": [*base.get("allOf", []), option]})
            try:
                value = self.value(combined, depth + 1)
            except (UnsupportedSchema, UnsupportedPattern):
                continue
            if self.holds(schema, value):
                return value
        raise UnsupportedSchema(f"none of {keyword} can be satisfied")

    def _merged(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        merged = {key: part for key, part in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            layer = self._referenced(part["$ref"]) if isinstance(part, Mapping) and "$ref" in part else part
            if not isinstance(layer, Mapping):
                continue
            layer = self._merged(layer) if "allOf" in layer else layer
            required = [*merged.get("required", []), *layer.get("required", [])]
            properties = {**merged.get("properties", {}), **layer.get("properties", {})}
            merged.update(layer)
            if required:
                merged["required"] = list(dict.fromkeys(required))
            if properties:
                merged["properties"] = properties
        return merged

    def _type(self, schema: Mapping[str, Any], depth: int) -> str:
        named = schema.get("type")
        if isinstance(named, str):
            return named
        if isinstance(named, list):
            solid = [name for name in named if name != "null"]
            return "null" if "null" in named and (not solid or depth > _SHALLOW) else str(self._rng.choice(solid))
        return next((kind for keyword, kind in _KEYWORD_TYPES.items() if keyword in schema), "string")

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        scene = self._scenes[self._objects % len(self._scenes)] if self._scenes else {}
        self._objects += 1
        required = schema.get("required", [])
        properties: dict[str, Any] = dict(schema.get("properties", {}))
        others = schema.get("additionalProperties", True)
        properties.update({name: others for name in required if name not in properties})
        wanted = {name: part for name, part in properties.items() if name in required or depth <= _SHALLOW}
        document = {
            name: self._property(name, part, scene, depth) for name, part in wanted.items() if part is not False
        }
        while len(document) < schema.get("minProperties", 0):
            document[f"{self._rng.choice(_WORDS)}_{len(document)}"] = self.value(others, depth + 1)
        return document

    def _property(self, name: str, schema: Any, scene: Scene, depth: int) -> Any:
        for candidate in scene.get(name, ()):
            if self.holds(schema, candidate):
                return candidate
        return self.value(schema, depth + 1)

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, len(schema.get("prefixItems", ())), 3))
        if depth > _SHALLOW:
            most = max(least, min(most, 1 if depth < 2 * _SHALLOW else 0))
        items: list[Any] = [self.value(part, depth + 1) for part in schema.get("prefixItems", ())][:most]
        count = self._rng.randint(max(least, min(1, most)), max(least, min(most, least + 2)))
        rest = schema.get("items", True)
        for _ in range(50 * (count + 1)):
            if len(items) >= count or rest is False:
                break
            item = self.value(rest, depth + 1)
            if not (schema.get("uniqueItems") and item in items):
                items.append(item)
        return items

    def _string(self, schema: Mapping[str, Any]) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if "pattern" in schema:
            plain = {key: part for key, part in schema.items() if key in ("minLength", "maxLength")}
            return matching_text(schema["pattern"], rng=self._rng, accept=lambda text: self.holds(plain, text))
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]](self._rng)
        text = " ".join(self._rng.choice(_WORDS) for _ in range(self._rng.randint(2, 7)))
        while len(text) < least:
            text += " " + self._rng.choice(_WORDS)
        return text if most is None else text[:most]

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> int | float:
        step = schema.get("multipleOf", 1 if whole else 0.25)
        low = max(schema.get("minimum", -(10**9)), schema.get("exclusiveMinimum", -(10**9)))
        high = min(schema.get("maximum", 10**9), schema.get("exclusiveMaximum", 10**9))
        if low == -(10**9):
            low = min(0, high)
        high = min(high, low + 100 * step)
        candidates = [int(low // step) + offset for offset in range(102)]
        self._rng.shuffle(candidates)
        for multiple in candidates:
            value = multiple * step
            if low <= value <= high and self.holds(schema, int(value) if whole else value):
                return int(value) if whole else value
        return int(low) if whole else (low + high) / 2


def _day(rng: random.Random) -> str:
    return (dt.date(2020, 1, 1) + dt.timedelta(days=rng.randrange(3650))).isoformat()


_FORMATS: dict[str, Callable[[random.Random], str]] = {
    "date-time": lambda rng: f"{_day(rng)}T{rng.randrange(24):02d}:{rng.randrange(60):02d}:00Z",
    "date": _day,
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "email": lambda rng: f"{rng.choice(_WORDS)}@example.org",
    "uri": lambda rng: f"https://example.org/{rng.choice(_WORDS)}",
    "ipv4": lambda rng: f"192.0.2.{rng.randrange(256)}",
}
