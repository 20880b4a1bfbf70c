"""The routes of the simulated model, and how a completion is sent under the faults that were asked for."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from typing import Any

from devstack.sim_model.answers import Answer, answer_to
from devstack.sim_model.chat import MODELS, BadRequest, ChatRequest, parse_chat
from devstack.sim_model.faults import NEVER, FaultBook, FaultPlan, UnknownFault, markers_in, plan_of
from devstack.sim_model.request_log import Entry, Outcome, RequestLog
from devstack.sim_model.wire import ClientGone, Exchange, Malformed, Request, WatchedReader, read_request

_BACKLOG = 1024
_GARBAGE = '{"id": "sim-broken", "choices": [{"delta": {"content": "'


class SimModel:
    """The server: open connections, standing faults, and the log of requests. `token_delay_s` paces every stream."""

    def __init__(self, *, token_delay_s: float = 0.0) -> None:
        self._token_delay_s = token_delay_s
        self._faults = FaultBook()
        self._log = RequestLog()
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Start to serve; the server's socket tells the port."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(WatchedReader(), self._connected), host, port, backlog=_BACKLOG
        )

    async def close_connections(self) -> None:
        """End every connection."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or not isinstance(reader, WatchedReader):
            raise RuntimeError("a connection is served by a task, through the reader that listen() made")
        self._connections.add(task)
        try:
            with contextlib.suppress(ClientGone):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: WatchedReader, writer: asyncio.StreamWriter) -> None:
        while True:
            exchange = Exchange(reader, writer)
            try:
                request = await read_request(reader, writer)
            except Malformed as error:
                await _refuse(exchange, BadRequest(str(error)))
                return
            if request is None:
                return
            await self._dispatch(request, exchange)
            if not exchange.reusable or request.headers.get("connection", "").lower() == "close":
                return

    async def _dispatch(self, request: Request, exchange: Exchange) -> None:
        match request.method, request.path.rstrip("/"):
            case "POST", "/v1/chat/completions":
                await self._chat(request, exchange)
            case "GET", "/health":
                await exchange.send_json(200, {"status": "ok", "simulated": True})
            case "GET", "/v1/models":
                await exchange.send_json(200, {"object": "list", "data": [_model(name) for name in MODELS]})
            case "GET", path if path.removeprefix("/v1/models/") in MODELS:
                await exchange.send_json(200, _model(path.removeprefix("/v1/models/")))
            case "GET", "/requests":
                await self._requests(request, exchange)
            case method, "/faults":
                await self._standing_faults(method, request, exchange)
            case _:
                await _refuse(exchange, BadRequest("no such route", status=404))

    async def _requests(self, request: Request, exchange: Exchange) -> None:
        since = request.query.get("since", "0")
        if not since.isdecimal():
            await _refuse(exchange, BadRequest("since is a whole number", param="since"))
            return
        await exchange.send_json(200, self._log.since(int(since)))

    async def _standing_faults(self, method: str, request: Request, exchange: Exchange) -> None:
        if method == "DELETE":
            self._faults.clear()
        elif method == "POST":
            try:
                self._faults.add(json.loads(request.body))
            except ValueError as error:
                await _refuse(exchange, BadRequest(str(error), code="unknown_fault"))
                return
        elif method != "GET":
            await _refuse(exchange, BadRequest("GET, POST or DELETE", status=405))
            return
        await exchange.send_json(201 if method == "POST" else 200, {"faults": self._faults.listing()})

    async def _chat(self, request: Request, exchange: Exchange) -> None:
        entry = self._log.open()
        try:
            entry.outcome = await self._complete(request, exchange, entry)
        except BadRequest as refused:
            entry.outcome = Outcome.FAULT
            await _refuse(exchange, refused)
        except ClientGone:
            entry.outcome = Outcome.CLIENT_GONE
            raise

    async def _complete(self, request: Request, exchange: Exchange, entry: Entry) -> Outcome:
        chat = parse_chat(request.body)
        entry.model, entry.stream = chat.model, chat.stream
        plan = self._plan(chat, request.headers.get("x-sim-fault", ""))
        await exchange.sleep(plan.latency_s)
        if plan.drop:
            exchange.abort()
            return Outcome.FAULT
        if plan.hang_after == NEVER:
            await exchange.hang()
        if plan.status is not None:
            await _send_status(exchange, plan)
            return Outcome.FAULT
        delivery = _Delivery(chat, answer_to(chat, plan), plan, exchange, entry.number)
        if chat.stream:
            return await delivery.stream(self._token_delay_s)
        return await delivery.whole(self._token_delay_s)

    def _plan(self, chat: ChatRequest, header: str) -> FaultPlan:
        text = chat.text
        named = [*self._faults.take(text), *(part for part in header.split(",") if part), *markers_in(text)]
        try:
            return plan_of(named)
        except UnknownFault as error:
            raise BadRequest(str(error), code="unknown_fault") from error


class _Delivery:
    """Sends one answer, whole or as a stream."""

    def __init__(self, chat: ChatRequest, answer: Answer, plan: FaultPlan, exchange: Exchange, number: int) -> None:
        self._chat = chat
        self._answer = answer
        self._plan = plan
        self._exchange = exchange
        self._head = {
            "id": f"chatcmpl-sim-{number}-{chat.digest.hex()[:16]}",
            "created": int(time.time()),
            "model": chat.model,
            "system_fingerprint": "simulated",
        }

    async def whole(self, token_delay_s: float) -> Outcome:
        plan = self._plan
        await self._exchange.sleep(plan.ttft_s + self._pace(token_delay_s) * len(self._answer.tokens))
        if plan.hang_after is not None:
            await self._exchange.hang()
        body = json.dumps(self._body()).encode()
        if plan.garbage_json:
            body = _GARBAGE.encode()
        headers = {}
        if plan.gzip:
            body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
        broken = plan.disconnect_after is not None or plan.truncate_after is not None
        await self._exchange.send_bytes(200, body, headers=headers, cut_short=broken)
        return Outcome.FAULT if broken or plan.garbage_json else Outcome.SERVED

    def _body(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self._answer.text, "refusal": self._answer.refusal}
        if self._answer.refusal is not None or self._answer.tool is not None:
            message["content"] = None
        if self._answer.tool is not None:
            message["tool_calls"] = [self._tool_call(self._answer.text)]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._answer.finish_reason}
        body = {**self._head, "object": "chat.completion", "choices": [choice]}
        return body if self._plan.no_usage else {**body, "usage": self._answer.usage}

    async def stream(self, token_delay_s: float) -> Outcome:
        plan, exchange = self._plan, self._exchange
        await exchange.start_events(gzip=plan.gzip)
        await self._send_delta({"role": "assistant", "content": "" if self._answer.refusal is None else None})
        await exchange.sleep(plan.ttft_s)
        if plan.garbage_json:
            await exchange.send_event(_GARBAGE)
            await exchange.end_events()
            return Outcome.FAULT
        pace = self._pace(token_delay_s)
        deltas = self._deltas()
        for sent in range(len(deltas) + 1):
            if await self._broken_after(sent, at_end=sent == len(deltas)):
                return Outcome.FAULT
            if sent < len(deltas):
                await self._send_delta(deltas[sent])
                await exchange.sleep(pace)
        await self._finish()
        return Outcome.SERVED

    def _pace(self, token_delay_s: float) -> float:
        if self._plan.total_s is not None:
            return self._plan.total_s / max(1, len(self._answer.tokens))
        return self._plan.pace_s or token_delay_s

    def _deltas(self) -> list[dict[str, Any]]:
        answer = self._answer
        if answer.refusal is not None:
            return [{"refusal": answer.refusal}]
        if answer.tool is not None:
            pieces = [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in answer.tokens]
            return [{"tool_calls": [{"index": 0, **self._tool_call("")}]}, *pieces]
        return [{"content": token} for token in answer.tokens]

    def _tool_call(self, arguments: str) -> dict[str, Any]:
        function = {"name": self._answer.tool, "arguments": arguments}
        return {"id": f"call_sim_{self._chat.digest.hex()[:12]}", "type": "function", "function": function}

    async def _broken_after(self, sent: int, *, at_end: bool) -> bool:
        """Meet the fault due after `sent` chunks; one set beyond the answer's length is met at its end."""
        plan, exchange = self._plan, self._exchange
        if _is_due(plan.hang_after, sent, at_end=at_end):
            await exchange.hang()
        if _is_due(plan.disconnect_after, sent, at_end=at_end):
            exchange.abort()
            return True
        if _is_due(plan.error_after, sent, at_end=at_end):
            await exchange.send_event(json.dumps(_error("simulated failure mid-stream", "server_error")))
            await exchange.end_events()
            return True
        if _is_due(plan.truncate_after, sent, at_end=at_end):
            await exchange.end_events()
            return True
        return False

    async def _finish(self) -> None:
        await self._send_delta({}, finish_reason=self._answer.finish_reason)
        if self._chat.include_usage and not self._plan.no_usage:
            await self._exchange.sleep(self._plan.usage_late_s)
            await self._send({"choices": [], "usage": self._answer.usage})
        await self._exchange.send_event("[DONE]")
        await self._exchange.end_events()

    async def _send_delta(self, delta: dict[str, Any], *, finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        await self._send({"choices": [choice]})

    async def _send(self, fields: dict[str, Any]) -> None:
        await self._exchange.send_event(json.dumps({**self._head, "object": "chat.completion.chunk", **fields}))


def _is_due(after: int | None, sent: int, *, at_end: bool) -> bool:
    return after is not None and (sent == after or (at_end and sent < after))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "simulated"}


def _error(message: str, kind: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def _refuse(exchange: Exchange, refused: BadRequest) -> None:
    payload = _error(refused.message, "invalid_request_error", param=refused.param, code=refused.code)
    await exchange.send_json(refused.status, payload)


async def _send_status(exchange: Exchange, plan: FaultPlan) -> None:
    status = plan.status or 500
    kind = {429: "rate_limit_error", 401: "authentication_error"}.get(
        status, "server_error" if status >= 500 else "invalid_request_error"
    )
    headers = {"Retry-After": str(plan.retry_after_s)} if status in (429, 503) else {}
    await exchange.send_json(status, _error(f"simulated status {status}", kind, code=str(status)), headers=headers)
