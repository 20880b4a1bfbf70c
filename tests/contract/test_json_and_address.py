"""Small parts of the edge on their own: exact numbers, the caller's address, the error table."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from flask import Request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from shared.kernel import errors
from web.address import client_address
from web.cors import Cors
from web.exact_json import encode
from web.problems import CAUSES, KNOWS_503, Door, NotBuilt, door_of, problem_of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12))
def test_a_decimal_leaves_digit_for_digit(amount: Decimal) -> None:
    text = encode({"usd": amount})
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal)["usd"] == amount
    assert format(amount, "f") in text


def test_a_decimal_that_no_float_holds_survives() -> None:
    assert encode({"a": Decimal("0.1000000000000000000000000001")}) == '{"a":0.1000000000000000000000000001}'
    assert encode(Decimal("1E+3")) == "1000"
    assert encode(Decimal("0.005000")) == "0.005000"


@given(json_values)
def test_other_values_leave_as_the_standard_library_writes_them(value: object) -> None:
    assert json.loads(encode(value)) == json.loads(json.dumps(value))
    assert json.loads(encode(value, indent=2)) == json.loads(json.dumps(value))


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), float("nan"), float("inf"), object(), b"x"])
def test_what_json_has_no_form_for_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        encode({"x": value})


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        ("", 0, "198.51.100.7"),
        ("203.0.113.9", 0, "198.51.100.7"),
        ("203.0.113.9", 1, "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", 1, "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.0.0.1", 2, "203.0.113.9"),
        ("203.0.113.9", 2, "198.51.100.7"),
        ("nonsense", 1, "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", 1, "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", 1, "203.0.113.9"),
    ],
)
def test_only_what_trusted_proxies_wrote_counts(forwarded: str, proxies: int, address: str) -> None:
    environ = EnvironBuilder(headers=[("X-Forwarded-For", forwarded)] if forwarded else []).get_environ()
    environ["REMOTE_ADDR"] = "198.51.100.7"
    assert client_address(Request(environ), trusted_proxies=proxies) == address


@pytest.mark.parametrize(
    ("path", "door"),
    [
        ("/v1/runs", Door.GATEWAY),
        ("/v1/chat", Door.GATEWAY),
        ("/v1/chat/completions", Door.OPENAI),
        ("/v1/chat/completions/x", Door.OPENAI),
        ("/v1/models", Door.GATEWAY),
        ("/v1/models/x", Door.OPENAI),
        ("/", Door.GATEWAY),
        ("/apiary", Door.GATEWAY),
        ("/api", Door.AGENT),
        ("/api/jobs", Door.AGENT),
        ("/api/v1", Door.VERIFICATION),
        ("/api/v1/forward", Door.VERIFICATION),
        ("/api/v10", Door.AGENT),
        ("/api/agents/x", Door.GATEWAY),
    ],
)
def test_the_longest_prefix_names_the_door(path: str, door: Door) -> None:
    assert door_of(path) is door


def tree() -> list[type[errors.LucidError]]:
    found, waiting = [], [errors.LucidError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__ == errors.__name__ and kind is not errors.LucidError:
            found.append(kind)
    return found


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("door", list(Door))
def test_every_error_of_the_tree_has_a_status_in_every_door(kind: type[errors.LucidError], door: Door) -> None:
    needs = {
        errors.TooMany: {"retry_after_s": 7},
        errors.Unavailable: {"retry_after_s": 7},
        errors.PaymentRequired: {"needed_sats": 40, "available_sats": 7},
    }
    more = next((given for base, given in needs.items() if issubclass(kind, base)), {})
    problem = problem_of(kind("why", **more), door)
    is_mapped = any(issubclass(kind, cause) for cause, _ in CAUSES)
    assert is_mapped or issubclass(kind, errors.IntegrityFault)
    assert (problem.message == "why") is is_mapped
    if issubclass(kind, errors.Unavailable):
        assert (problem.status, problem.retry_after_s) == (503 if door in KNOWS_503 else 500, 7)
    if kind is errors.PaymentRequired:
        assert (problem.status, problem.sats) == (402, {"requiredSats": 40, "availableSats": 7})


def test_an_unforeseen_exception_tells_the_caller_nothing() -> None:
    problem = problem_of(RuntimeError("password=hunter2"), Door.AGENT)
    assert (problem.status, problem.code) == (500, "internal_error")
    assert "hunter2" not in problem.message


def test_what_is_not_built_is_501() -> None:
    assert problem_of(NotBuilt("later"), Door.AGENT).status == 501


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://a.example", True), ("https://evil.example", False), ("", False)]
)
def test_listed_origins_only_may_read_answers(origin: str, allowed: bool) -> None:
    from flask import Response

    response = Response()
    request = Request(EnvironBuilder(headers=[("Origin", origin)] if origin else []).get_environ())
    Cors("https://a.example, https://b.example/").permit(request, response)
    assert response.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    assert response.headers["Vary"] == "Origin"
