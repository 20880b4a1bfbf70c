"""What is asked, and what the simulated model answers to it: an answer is a function of its request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from devstack.sim_model.answers import answer_to
from devstack.sim_model.chat import parse_chat
from devstack.sim_model.faults import FaultPlan
from devstack.sim_model.tokens import split_tokens

MODEL = "sim-small"


def call(number: int, *, tokens: int, latency_s: float = 0.0) -> dict[str, Any]:
    """Return a request for so many tokens at once; the model waits `latency_s` before it answers."""
    wait = f" [sim:latency:{latency_s:g}]" if latency_s else ""
    return {"model": MODEL, "messages": [{"role": "user", "content": f"Say {number}. [sim:tokens:{tokens}]{wait}"}]}


def stream(number: int, *, tokens: int, pace_s: float = 0.0) -> dict[str, Any]:
    """Return a request for a stream of so many tokens, one each `pace_s` seconds. Every number has an answer of its own."""
    pace = f" [sim:pace:{pace_s:g}]" if pace_s else ""
    said = {"role": "user", "content": f"Say {number}. [sim:tokens:{tokens}]{pace}"}
    return {"model": MODEL, "messages": [said], "stream": True}


def answer(request: Mapping[str, Any], *, tokens: int) -> str:
    """Return the text that the model answers with."""
    return answer_to(parse_chat(json.dumps(request).encode()), FaultPlan(tokens=tokens)).text


def count(text: str) -> int:
    """Return how many tokens a text has."""
    return len(split_tokens(text))
