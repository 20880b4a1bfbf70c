"""The simulated model's own parts: its tokenizer, its documents, its faults."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.sim_model.answers import Answer, answer_to
from devstack.sim_model.chat import BadRequest, parse_chat
from devstack.sim_model.faults import FaultBook, FaultPlan, UnknownFault, markers_in, plan_of
from devstack.sim_model.json_schema import UnsupportedSchema, valid_document
from devstack.sim_model.tokens import split_tokens

TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}, "maxItems": 3}},
    "required": ["name"],
    "additionalProperties": False,
}
LIST = {
    "$ref": "#/$defs/cell",
    "$defs": {
        "cell": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/cell"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
        }
    },
}
SCHEMAS: list[dict[str, Any]] = [
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "string", "minLength": 50, "maxLength": 60}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"type": "string", "maxLength": 0}}, "required": ["a"]},
    {"type": "object", "properties": {"n": {"type": "integer", "minimum": -5, "maximum": -3}}, "required": ["n"]},
    {"type": "object", "properties": {"n": {"type": "integer", "multipleOf": 7, "exclusiveMinimum": 7}}},
    {"type": "object", "properties": {"n": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.1}}},
    {"type": "object", "properties": {"n": {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.05}}},
    {"type": "object", "properties": {"e": {"enum": ["PASS", "FAIL", None, 3]}, "c": {"const": {"x": 1}}}},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 4, "maxItems": 4},
    {"type": "array", "items": {"enum": [1, 2, 3, 4]}, "minItems": 4, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "null"}], "items": False, "minItems": 2},
    {"type": "object", "properties": {"id": {"type": "string", "pattern": "^CLAIM-[0-9]{3}$"}}, "required": ["id"]},
    {"type": "string", "pattern": "^(ab|c[^x-z]d?)+\\s\\w{2,4}\\.$", "maxLength": 30},
    {"type": ["string", "null"]},
    {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    {"anyOf": [False, {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}]},
    {"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"required": ["b"]}], "type": "object"},
    {"type": "object", "required": ["undeclared"], "minProperties": 4, "additionalProperties": {"type": "integer"}},
    {"type": "object", "properties": {"d": {"type": "string", "format": "date-time"}, "u": {"format": "uuid"}}},
    TREE,
    LIST,
]


@given(st.text(max_size=300))
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_every_document_is_valid_under_its_schema_and_a_function_of_the_seed(schema: dict[str, Any]) -> None:
    for seed in range(40):
        document = valid_document(schema, seed=seed)
        jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
        assert valid_document(schema, seed=seed) == document
        json.dumps(document, allow_nan=False)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"$ref": "#"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "https://example.org/schema"},
        {"type": "string", "pattern": "(unclosed"},
        {"not": {}},
    ],
)
def test_a_schema_beyond_the_generator_is_said_to_be(schema: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedSchema):
        valid_document(schema, seed=1)


def test_markers_and_arguments_make_a_plan() -> None:
    text = "please [sim:ttft:0.4] answer [sim:disconnect:3][sim:no_usage] [sim:refuse]"
    assert plan_of(markers_in(text)) == FaultPlan(ttft_s=0.4, disconnect_after=3, no_usage=True)
    assert plan_of(["status:429:7"]) == FaultPlan(status=429, retry_after_s=7)
    assert plan_of(["hang"]) == FaultPlan(hang_after=-1)


@pytest.mark.parametrize(
    "fault", ["ttfb:1", "ttft", "ttft:x", "latency:nan", "latency:inf", "status:200", "gzip:1", "", "refuse"]
)
def test_a_misspelt_fault_is_refused(fault: str) -> None:
    with pytest.raises(UnknownFault):
        plan_of([fault])


def test_standing_faults_are_met_oldest_first_as_often_as_said_and_only_where_they_match() -> None:
    book = FaultBook()
    book.add({"fault": "status:500", "times": 2, "match": "apple"})
    book.add({"fault": "drop,no_usage"})
    assert [book.take("a pear"), book.take("a pear")] == [["drop", "no_usage"], []]
    assert [book.take("apple pie") for _ in range(3)] == [["status:500"], ["status:500"], []]
    book.add({"fault": "empty", "times": None})
    assert [book.take("x") for _ in range(5)] == [["empty"]] * 5
    book.clear()
    assert book.listing() == []


@pytest.mark.parametrize(
    "order", [None, [], {}, {"fault": "nope"}, {"fault": "drop", "times": 0}, {"fault": "drop", "times": True}]
)
def test_a_senseless_standing_fault_is_refused(order: object) -> None:
    with pytest.raises(UnknownFault):
        FaultBook().add(order)


def answered(text: str, **fields: Any) -> Answer:
    body = {"model": "sim-small", "messages": [{"role": "user", "content": text}], **fields}
    request = parse_chat(json.dumps(body).encode())
    return answer_to(request, plan_of(markers_in(request.text)))


def with_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}


def test_an_answer_is_a_function_of_the_request() -> None:
    assert answered("one") == answered("one")
    texts = {answered(text, seed=seed).text for text in ("one", "two") for seed in (None, 1, 2)}
    assert len(texts) == 6
    assert all(text.startswith("Simulated answer") for text in texts)


def test_stop_and_max_tokens_cut() -> None:
    whole = answered("cut [sim:tokens:20]")
    assert (len(whole.tokens), whole.finish_reason) == (20, "stop")
    short = answered("cut [sim:tokens:20]", max_tokens=5)
    assert (short.tokens, short.finish_reason) == (whole.tokens[:5], "length")
    assert answered("cut [sim:tokens:20]", stop=whole.tokens[4]).text == "".join(whole.tokens[:4])
    assert short.usage["completion_tokens"] == 5


def test_an_evaluation_accepts_unless_a_users_message_holds_the_marker() -> None:
    schema = {
        "type": "object",
        "properties": {"accepted": {"type": "boolean"}, "reason": {"type": "string"}},
        "required": ["accepted", "reason"],
    }
    assert json.loads(answered("write a poem", **with_schema(schema)).text)["accepted"] is True
    assert json.loads(answered("write [sim:refuse]", **with_schema(schema)).text)["accepted"] is False
    system = [{"role": "system", "content": "[sim:refuse]"}, {"role": "user", "content": "write"}]
    assert json.loads(answered("", **{"messages": system, **with_schema(schema)}).text)["accepted"] is True


def test_the_verification_documents_defect_is_found() -> None:
    check = {
        "type": "object",
        "properties": {"call": {"type": "string"}, "expected": {}},
        "required": ["call", "expected"],
    }
    checks = {"type": "array", "items": check, "minItems": 2, "maxItems": 3}
    schema = {"type": "object", "properties": {"checks": checks}, "required": ["checks"]}
    code = "def add(a, b):\n    return a - b"
    for found in json.loads(answered(code, **with_schema(schema)).text)["checks"]:
        left, right = (int(number) for number in found["call"].removeprefix("add(").removesuffix(")").split(","))
        assert found["expected"] == left + right != left - right


def test_a_required_tool_is_called_with_valid_arguments() -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    called = answered("weather?", tools=tools, tool_choice="required")
    assert (called.tool, called.finish_reason) == ("weather", "tool_calls")
    jsonschema.validate(json.loads(called.text), parameters)
    assert answered("weather?", tools=tools).tool is None
    with pytest.raises(BadRequest):
        answered("weather?", tools=tools, tool_choice={"type": "function", "function": {"name": "other"}})


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "gpt-4o"},
        {"n": 2},
        {"messages": []},
        {"messages": [{"role": "user", "content": 5}]},
        {"max_tokens": 0},
        {"stop": [""]},
        {"stream": "yes"},
        {"response_format": {"type": "json_schema"}},
        with_schema({"type": "nonsense"}),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        answered("x", **fields)
