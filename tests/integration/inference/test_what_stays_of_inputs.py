"""Inputs are kept only where they may be, sealed as long as a worker needs them, and redacted before they go anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from shared.inference.model import RunState, Surface
from tests.integration.inference import receipts_check
from tests.integration.inference.engine_bench import TENANT, EngineBench

MARK = "marker-7f3a"
STORES_NOT = {"privacy": {"store_inputs": False}}
REDACTS = {"privacy": {"redact_pii": True}}


def test_an_input_that_may_be_stored_is(bench: EngineBench) -> None:
    run = bench.ask(MARK)
    bench.done(run)
    assert bench.stored(run)["input"]["messages"][0]["content"] == MARK


@pytest.mark.parametrize("policy", [STORES_NOT, REDACTS], ids=["not stored", "redacted"])
def test_an_input_that_may_not_be_stored_is_sealed_and_then_gone(bench: EngineBench, policy: dict[str, Any]) -> None:
    run = bench.ask(MARK, policy=policy, body=MARK.encode())
    before = bench.stored(run)
    assert before["input"] is None
    assert MARK.encode() not in before["sealed_input"]
    assert bench.done(run).run.state is RunState.COMPLETE
    assert MARK not in repr(bench.stored(run))
    assert bench.stored(run)["sealed_input"] is None


def test_what_is_not_kept_any_more_is_gone_and_the_receipt_stays(bench: EngineBench) -> None:
    kept, old = bench.ask(MARK), bench.ask(MARK, stream=True)
    before = [bench.done(run) for run in (kept, old)][1]
    with bench.connected() as connection:
        connection.execute("UPDATE runs SET ended_at = now() - interval '8 days' WHERE id = %s", [old.id])
    receipt, usage = bench.receipt(old), bench.usage(old)
    for days in (0, 30):
        bench.prune(days)
        assert bench.look(old).salts == before.salts
    bench.prune(7)
    view = bench.look(old)
    assert view.run.forgotten_at is not None
    assert view.salts == {}
    assert view.end is not None
    assert before.end is not None
    assert (view.end.reply, view.end.tokens_out) == (None, before.end.tokens_out)
    assert MARK not in repr(bench.stored(old))
    assert bench.row("SELECT count(*) FROM run_frames WHERE run_id = %s", old.id)["count"] == 0
    assert bench.row("SELECT count(*) FROM receipt_salts WHERE receipt_id = %s", old.run_id)["count"] == 0
    assert (bench.receipt(old), bench.usage(old)) == (receipt, usage)
    still = bench.look(kept)
    assert still.run.forgotten_at is None
    assert set(still.salts) == {"input", "output"}


class Parrot(ThreadingHTTPServer):
    """A model that says what it is told to, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Speech)
        self.pieces: list[str] = []
        self.asked: list[dict[str, Any]] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Speech(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Parrot)
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for piece in self.server.pieces:
            self._say({"choices": [{"index": 0, "delta": {"content": piece}}]})
        self._say({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._say({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 5}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        del format, args


@pytest.fixture(scope="module")
def running_parrot() -> Iterator[Parrot]:
    with Parrot() as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def parrot(running_parrot: Parrot, bench: EngineBench) -> Iterator[Parrot]:
    """A node of the tenant's own, where its model `parrot` is served."""
    node = "passport_" + "a" * 32
    model = "passport_" + "b" * 32
    declared = {
        "schema_version": "1.0",
        "compute_passport_id": node,
        "provider_type": "managed",
        "regions": ["here"],
        "hardware": {"gpu": "none", "vram_gb": 0},
        "runtimes": [{"name": "vllm"}],
        "endpoints": {"inference_url": running_parrot.base_url},
        "metadata": {"models": ["parrot"]},
    }
    known = {
        "schema_version": "1.0",
        "model_passport_id": model,
        "format": "api",
        "api_model_id": "parrot",
        "name": "parrot",
        "runtime_recommended": "vllm",
    }
    insert = """INSERT INTO passports (passport_id, type, tenant, owner, name, metadata, metadata_hash)
                VALUES (%s, %s, %s, 'somebody', 'parrot', %s, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING"""
    with bench.connected() as connection:
        connection.execute(insert, (node, "compute", TENANT, json.dumps(declared)))
        connection.execute(insert, (model, "model", TENANT, json.dumps(known)))
        connection.execute(
            "INSERT INTO heartbeats (passport_id, status) VALUES (%s, 'healthy') ON CONFLICT DO NOTHING", [node]
        )
    bench.speak_for_nodes()
    running_parrot.asked.clear()
    running_parrot.pieces = ["ok"]
    return running_parrot


def test_what_is_personal_does_not_reach_the_model(bench: EngineBench, parrot: Parrot) -> None:
    parts = [{"type": "text", "text": "and a.b@example.org"}]
    messages = [{"role": "user", "content": "I am jo@example.com"}, {"role": "user", "content": parts}]
    bench.done(bench.ask(model="parrot", messages=messages, policy=REDACTS))
    (asked,) = parrot.asked
    assert [message["content"] for message in asked["messages"]] == [
        "I am [email]",
        [{"type": "text", "text": "and [email]"}],
    ]


def test_what_is_personal_does_not_reach_the_model_by_way_of_tools_and_schemas(
    bench: EngineBench, parrot: Parrot
) -> None:
    parameters = {"type": "object", "properties": {"to": {"enum": ["jo@example.com"]}, "a.b@example.org": {}}}
    function = {"name": "send", "description": "Mail jo@example.com", "parameters": parameters}
    options = {"tools": [{"type": "function", "function": function}], "stop": ["+1 202 555 0142"], "max_tokens": 7}
    bench.done(bench.ask(model="parrot", options=options, policy=REDACTS))
    (asked,) = parrot.asked
    clean = {"type": "object", "properties": {"to": {"enum": ["[email]"]}, "[email]": {}}}
    assert asked["tools"][0]["function"] == {"name": "send", "description": "Mail [email]", "parameters": clean}
    assert (asked["stop"], asked["max_tokens"]) == (["[phone]"], 7)


def test_a_long_text_is_not_searched_beyond_the_runs_time(bench: EngineBench, parrot: Parrot) -> None:
    policy = {**REDACTS, "latency": {"hard_timeout_ms": 300}}
    view = bench.done(bench.ask("4155552671 " * 90_000, model="parrot", policy=policy))
    assert view.end is not None
    assert view.end.error_code == "TIMEOUT"
    assert view.end.total_latency_ms < 3_000
    assert parrot.asked == []


@pytest.mark.parametrize("surface", list(Surface))
def test_what_is_personal_does_not_leave_in_a_stream_whatever_its_pieces(
    bench: EngineBench, parrot: Parrot, surface: Surface
) -> None:
    parrot.pieces = ["write to j", "o@exa", "mple.", "com or call +1 ", "202 555 ", "0142 now"]
    run = bench.ask(model="parrot", surface=surface, stream=True, policy=REDACTS)
    bench.start(run)
    frames = bench.read(run)
    wire = b"".join(frame.wire for frame in frames)
    end = bench.look(run).end
    assert end is not None
    assert end.reply is not None
    assert end.reply.text == "write to [email] or call [phone] now"
    said = [receipts_check.payload(frame.wire) for frame in frames[:-1]]
    told = [
        one["text"] if "text" in one else (one["choices"] or [{}])[0].get("delta", {}).get("content", "")
        for one in said
        if "text" in one or "choices" in one
    ]
    assert "".join(told) == end.reply.text
    assert b"example" not in wire
    assert b"0142" not in wire


def test_options_go_upstream_by_their_own_names(bench: EngineBench, parrot: Parrot) -> None:
    options = {"max_tokens": 7, "temperature": 0.25, "top_k": 4, "stop": ["."], "seed": 3, "logit_bias": {"1": 2}}
    bench.done(bench.ask(model="parrot", options=options))
    (asked,) = parrot.asked
    assert {name: asked[name] for name in options} == options
    assert asked["model"] == "parrot"
    assert asked["stream"] is True


def test_functions_of_old_are_put_as_tools(bench: EngineBench, parrot: Parrot) -> None:
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "", "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "rain"},
    ]
    bench.done(bench.ask(model="parrot", messages=messages))
    (asked,) = parrot.asked
    _, called, result = asked["messages"]
    assert called["tool_calls"][0]["function"]["name"] == "weather"
    assert "function_call" not in called
    assert result["role"] == "tool"
    assert result["tool_call_id"] == called["tool_calls"][0]["id"]


def test_another_tenants_node_is_never_used(bench: EngineBench, parrot: Parrot) -> None:
    from shared.inference.planning import ModelNotFound

    with pytest.raises(ModelNotFound):
        bench.ask(model="parrot", tenant="tenant_b")
    assert parrot.asked == []


def test_in_production_a_tenants_node_does_not_lead_into_our_network(
    bench: EngineBench, parrot: Parrot, make_bench: Callable[..., EngineBench]
) -> None:
    strict = make_bench(LUCID_ENV="production", DATABASE_URL=bench.settings.database_url)
    run = bench.ask(model="parrot")
    strict.work(run)
    end = bench.look(run).end
    assert end is not None
    assert end.error_code == "CONNECTION"
    assert parrot.asked == []
