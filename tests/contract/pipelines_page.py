"""Door two's contract, which is a page of prose: its addresses, fields, samples, error codes and code examples, read out of it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = "lucid-pipelines.md"
BASE_URL = "https://api.trylucid.dev"
KEY = "lk_live_YOUR_API_KEY"
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array"}


def page() -> str:
    """Return the page; skip where it is not."""
    folder = Path(os.environ.get("LUCID_CONTRACTS") or ROOT.parent / "shared" / "contracts")
    if not (folder / NAME).exists():
        pytest.skip(f"{NAME} is not here: set LUCID_CONTRACTS to the folder of the API contracts")
    return (folder / NAME).read_text(encoding="utf-8")


def chapters() -> dict[str, str]:
    """Return what the page says of each address, without its code examples."""
    described = page().partition("\nCode Examples\n")[0]
    parts = re.split(r"^POST(?=/api/v1/\w+$)", described, flags=re.MULTILINE)[1:]
    return {path: text for path, _, text in (part.partition("\n") for part in parts)}


def fields(chapter: str) -> dict[str, bool]:
    """Return the fields of a request, all of them strings, and whether each must be there."""
    return {
        name: how == "Required"
        for name, how in re.findall(r"^([a-z]+)string(Required|Optional)", chapter, re.MULTILINE)
    }


def sample(chapter: str) -> dict[str, Any]:
    """Return the sample of an answer; a list of dots is an empty one."""
    (text,) = re.findall(r"^json\n(\{.*?^\})$", chapter, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = json.loads(text.replace("[...]", "[]"))
    return found


def error_sample() -> dict[str, Any]:
    """Return the sample of an error."""
    (text,) = re.findall(r"^Error Response Format\n+json\n(\{.*?^\})$", page(), re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def error_codes() -> list[str]:
    """Return the statuses of errors."""
    return re.findall(r"^(4\d\d|500)[A-Z]", page(), re.MULTILINE)


def examples() -> dict[str, str]:
    """Return the code examples: `python`, `node`, `curl` of the forward pipeline, `curl reverse`."""
    text = page().partition("\nCode Examples\n")[2].partition("\nRate Limits\n")[0]
    blocks = re.findall(
        r"^(python|javascript|bash)\n(.*?)(?=^(?:Python|Node\.js|cURL|Reverse Pipeline)\b|\Z)",
        text,
        re.MULTILINE | re.DOTALL,
    )
    names = ("python", "node", "curl", "curl reverse")
    assert [kind for kind, _ in blocks] == ["python", "javascript", "bash", "bash"]
    return dict(zip(names, (code for _, code in blocks), strict=True))


def document() -> dict[str, Any]:
    """Return the page as an OpenAPI document; an operation is named by the last part of its path."""
    error = schema_of(error_sample())
    paths = {}
    for path, chapter in chapters().items():
        asked = fields(chapter)
        body = {
            "type": "object",
            "required": [name for name, required in asked.items() if required],
            "properties": {name: {"type": "string"} for name in asked},
        }
        answers = {"200": _answer(schema_of(sample(chapter)))} | {code: _answer(error) for code in error_codes()}
        paths[path] = {
            "post": {
                "operationId": path.rpartition("/")[2],
                "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
                "responses": answers,
            }
        }
    return {"openapi": "3.1.0", "info": {"title": "LUCID API", "version": "1"}, "paths": paths}


def schema_of(value: Any) -> dict[str, Any]:
    """Return the schema that a sample stands for: every member that it has is required, further ones are not forbidden."""
    schema: dict[str, Any] = {"type": _TYPES[type(value)]}
    if isinstance(value, dict):
        schema |= {"required": list(value), "properties": {name: schema_of(member) for name, member in value.items()}}
    elif isinstance(value, list) and value:
        schema["items"] = schema_of(value[0])
    return schema


def _answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "as the page has it", "content": {"application/json": {"schema": schema}}}
