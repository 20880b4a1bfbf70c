"""The simulated model over HTTP, as another OpenAI client sees it."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import httpx
import openai
import pytest
from sim_process import SimProcess

ASK = {"model": "sim-small", "messages": [{"role": "user", "content": "hello"}]}


def post(sim: SimProcess, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return sim.control.post("/v1/chat/completions", json={**ASK, **fields}, headers=headers)


def test_health_and_models_say_that_it_is_simulated(sim: SimProcess) -> None:
    assert sim.control.get("/health").json() == {"status": "ok", "simulated": True}
    names = [model["id"] for model in sim.control.get("/v1/models").json()["data"]]
    assert names == ["sim-small", "sim-large"]
    assert sim.control.get("/v1/models/sim-large").json()["id"] == "sim-large"
    assert sim.control.get("/v1/models/gpt-4o").status_code == 404


def test_a_whole_answer_and_a_streamed_one_are_the_same(sim: SimProcess) -> None:
    with openai.OpenAI(base_url=sim.base_url, api_key="any", max_retries=0) as client:
        messages: Any = ASK["messages"]
        whole = client.chat.completions.create(model="sim-small", messages=messages)
        options: Any = {"include_usage": True}
        stream = client.chat.completions.create(
            model="sim-small", messages=messages, stream=True, stream_options=options
        )
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_forced_tool_is_called_whole_and_streamed(sim: SimProcess) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    whole = post(sim, tools=tools, tool_choice="required").json()["choices"][0]
    call = whole["message"]["tool_calls"][0]["function"]
    assert (whole["finish_reason"], whole["message"]["content"], call["name"]) == ("tool_calls", None, "weather")
    with openai.OpenAI(base_url=sim.base_url, api_key="any", max_retries=0) as client:
        messages: Any = ASK["messages"]
        choice: Any = "required"
        stream = client.chat.completions.create(
            model="sim-small", messages=messages, tools=tools, tool_choice=choice, stream=True
        )
        parts = [part for chunk in stream for part in chunk.choices[0].delta.tool_calls or []]
    streamed = "".join(part.function.arguments or "" for part in parts if part.function)
    assert json.loads(streamed) == json.loads(call["arguments"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        (json.dumps({**ASK, "model": "gpt-4o"}).encode(), 404, "model_not_found"),
        (
            json.dumps({**ASK, "messages": [{"role": "user", "content": "[sim:nonsense]"}]}).encode(),
            400,
            "unknown_fault",
        ),
    ],
)
def test_a_bad_request_is_refused_in_openais_shape(sim: SimProcess, body: bytes, status: int, code: str | None) -> None:
    answer = sim.control.post("/v1/chat/completions", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("fault", ["status:429:9", "status:500", "status:418"])
def test_a_fault_may_be_asked_for_by_header(sim: SimProcess, fault: str) -> None:
    answer = post(sim, headers={"X-Sim-Fault": fault})
    assert answer.status_code == int(fault.split(":")[1])
    assert answer.headers.get("retry-after") == ("9" if fault == "status:429:9" else None)


def test_faults_of_a_whole_answer(sim: SimProcess) -> None:
    assert "usage" not in post(sim, headers={"X-Sim-Fault": "no_usage"}).json()
    assert post(sim, headers={"X-Sim-Fault": "gzip"}).json()["choices"]
    with pytest.raises(ValueError, match="Unterminated"):
        post(sim, headers={"X-Sim-Fault": "garbage_json"}).json()
    for fault in ("disconnect", "drop"):
        with pytest.raises(httpx.TransportError):
            post(sim, headers={"X-Sim-Fault": fault})
    refused = post(sim, headers={"X-Sim-Fault": "refusal"}).json()["choices"][0]["message"]
    assert (refused["content"], bool(refused["refusal"])) == (None, True)


def test_standing_faults_are_set_listed_met_and_cleared(sim: SimProcess) -> None:
    sim.fault("status:500", times=1, match="hell")
    sim.fault("status:503", times=None)
    assert [one["fault"] for one in sim.control.get("/faults").json()["faults"]] == ["status:500", "status:503"]
    assert [post(sim).status_code for _ in range(3)] == [500, 503, 503]
    sim.control.delete("/faults")
    assert post(sim).status_code == 200
    assert sim.control.post("/faults", json={"fault": "nonsense"}).status_code == 400


def test_requests_are_counted_as_they_arrive(sim: SimProcess) -> None:
    before = sim.requests()["last"]
    assert sim.requests(since=before) == {"count": 0, "last": before, "requests": []}
    post(sim)
    post(sim, headers={"X-Sim-Fault": "status:500"})
    after = sim.requests(since=before)
    assert (after["count"], [one["outcome"] for one in after["requests"]]) == (2, ["served", "fault"])


@pytest.mark.parametrize("head", [b"nonsense\r\n\r\n", b"GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n"])
def test_bytes_that_are_no_request_are_refused(sim: SimProcess, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", sim.port), timeout=5) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_three_hundred_slow_streams_are_sustained(sim: SimProcess) -> None:
    body = json.dumps(
        {
            "model": "sim-small",
            "messages": [{"role": "user", "content": "[sim:pace:0.05][sim:tokens:10]"}],
            "stream": True,
        }
    )
    request = f"POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"

    async def one(open_streams: asyncio.Barrier) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(request.encode())
        begun = await reader.readuntil(b"\n\n")
        await open_streams.wait()
        rest = await reader.read()
        writer.close()
        await writer.wait_closed()
        return begun + rest

    async def all_of_them() -> list[bytes]:
        open_streams = asyncio.Barrier(300)
        return await asyncio.wait_for(asyncio.gather(*(one(open_streams) for _ in range(300))), 60)

    answers = asyncio.run(all_of_them())
    assert all(answer.count(b"data: {") == 12 and b"data: [DONE]" in answer for answer in answers)


def test_sigterm_ends_it_in_order_even_with_a_stream_that_hangs() -> None:
    sim = SimProcess()
    with socket.create_connection(("127.0.0.1", sim.port), timeout=10) as connection:
        body = json.dumps({**ASK, "messages": [{"role": "user", "content": "[sim:hang:2]"}], "stream": True}).encode()
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        assert connection.recv(10).startswith(b"HTTP/1.1 2")
        assert sim.stop() == 0
