"""The client of an OpenAI-compatible API. Always streams, so that a deadline can cut and a caller can watch.

Errors: the tree at the top of `shared/llm/model.py`; every failure of a call is one of them, save what `on_token` raises.
Nothing is tried again here: that is decided by whoever owns the step.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

import httpx2
import openai

from shared.kernel.clock import Clock
from shared.llm.clients.deadline import AcceptsPeer, CallLimits, LimitedTransport, stopped
from shared.llm.clients.intake import Intake
from shared.llm.clients.reception import Reception
from shared.llm.model import (
    ChatMessage,
    Completion,
    Delta,
    Partial,
    UpstreamError,
    UpstreamGarbage,
    UpstreamInterrupted,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)

_CONNECT_S = 10.0
_USAGE_GRACE_S = 5.0
"""How long a complete answer waits for its usage before we count for ourselves."""
_LONGEST_RETRY_AFTER_S = 3600
_DETAIL_CHARS = 500
_END = object()
_T = TypeVar("_T")
_Piece = TypeVar("_Piece")
_Piece_co = TypeVar("_Piece_co", covariant=True)


class _Receiving(Protocol[_Piece_co]):
    """What collects chunks: a whole answer's `Reception`, or the `Intake` of one that is handed on."""

    chunks: int
    begun: bool

    @property
    def finished(self) -> bool: ...

    def take(self, chunk: object, *, at_ms: int) -> _Piece_co: ...

    def partial(self) -> Partial: ...


class Upstream:
    """One OpenAI-compatible base URL. Safe to share between threads; `close` it at the end of the process.

    `accepts_peer` judges the address that a new connection leads to.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        first_token_s: float,
        deadline_s: float,
        clock: Clock,
        accepts_peer: AcceptsPeer | None = None,
    ) -> None:
        self.base_url = base_url
        self._first_token_s = first_token_s
        self._deadline_s = deadline_s
        self._clock = clock
        self._api_key = api_key
        self._http = httpx2.Client(
            transport=LimitedTransport(accepts_peer),
            timeout=httpx2.Timeout(deadline_s, connect=_CONNECT_S),
            follow_redirects=False,
        )
        # An empty key would make an illegal header; upstreams without keys ignore what they get.
        self._client = openai.OpenAI(
            base_url=base_url, api_key=api_key or "none", max_retries=0, http_client=self._http
        )
        # The package reads these two from the environment; settings come from one place only.
        self._client.organization = None
        self._client.project = None

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def complete(
        self,
        *,
        model: str,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        temperature: Decimal | None = None,
        top_p: Decimal | None = None,
        stop: Sequence[str] = (),
        schema: dict[str, Any] | None = None,
        schema_name: str = "answer",
        on_token: Callable[[str], None] | None = None,
        seed: int | None = None,
        deadline_s: float | None = None,
        check: Callable[[], None] | None = None,
    ) -> Completion:
        """Ask for one completion and return it whole. Raises `UpstreamError`, or what `on_token` or `check` raises.

        `on_token` sees each piece of text as it comes; if it raises, the stream is closed first. `check` is called a few times a
        second while the upstream is silent. `schema` asks for strict JSON (the answer is not checked here). `deadline_s` shortens
        this client's own deadline for this call.
        """
        body = _request_body(model, messages, max_tokens, temperature, top_p, stop, schema, schema_name, seed)
        end_s = self._deadline_s if deadline_s is None else min(deadline_s, self._deadline_s)
        limits = CallLimits(self._clock, first_token_s=self._first_token_s, deadline_s=end_s, check=check)
        prompt_chars = sum(len(message.content) for message in messages)
        reception = Reception(model=model, prompt_chars=prompt_chars, max_tokens=max_tokens)
        with limits.enforced():
            self._receive(body, reception, limits, on_token)
        return reception.completion(latency_ms=limits.elapsed_ms())

    def relay(
        self,
        body: Mapping[str, Any],
        intake: Intake,
        *,
        on_delta: Callable[[Delta], None],
        check: Callable[[], None],
        first_token_s: float | None = None,
        deadline_s: float | None = None,
    ) -> None:
        """Ask with `body` as it is, always streaming, and hand each piece on as it comes; `intake` keeps the figures.

        `check` is called before each read and a few times a second while the upstream is silent; what it raises ends the call
        and comes out, as does what `on_delta` raises. The times shorten this client's own. Raises `UpstreamError`.
        """
        limits = CallLimits(
            self._clock,
            first_token_s=min(first_token_s or self._first_token_s, self._first_token_s),
            deadline_s=min(deadline_s or self._deadline_s, self._deadline_s),
            check=check,
        )
        asked = {**body, "stream": True, "stream_options": {"include_usage": True}}

        def hand_on(delta: Delta | None) -> None:
            if delta is not None:
                on_delta(delta)

        with limits.enforced():
            self._receive(asked, intake, limits, hand_on)
        intake.require_complete()

    def _receive(
        self,
        body: dict[str, Any],
        reception: _Receiving[_Piece],
        limits: CallLimits,
        on_piece: Callable[[_Piece], object] | None,
    ) -> None:
        stream = self._guarded(lambda: self._open(body), reception)
        try:
            chunks = iter(stream)
            while (chunk := self._next(chunks, reception)) is not _END:
                piece = reception.take(chunk, at_ms=limits.elapsed_ms())
                if reception.finished:
                    limits.allow_only_usage(_USAGE_GRACE_S)
                elif reception.begun:
                    limits.allow_whole_deadline()
                if piece and on_piece is not None:
                    on_piece(piece)
                # Bytes that are already here never meet a socket's timeout.
                if limits.remaining_s() <= 0:
                    if reception.finished:
                        return
                    raise UpstreamTimeout(detail="the deadline passed while streaming", partial=reception.partial())
        finally:
            stream.close()

    def _open(self, body: dict[str, Any]) -> openai.Stream[object]:
        # Raw chunks, not the package's models: those are built unchecked from whatever an upstream sends.
        return self._client.post(
            "/chat/completions", cast_to=object, body=body, stream=True, stream_cls=openai.Stream[object]
        )

    def _next(self, chunks: Iterator[object], reception: _Receiving[_Piece]) -> object:
        try:
            return self._guarded(lambda: next(chunks, _END), reception)
        except UpstreamError:
            if reception.finished:
                return _END
            raise

    def _guarded(self, step: Callable[[], _T], reception: _Receiving[_Piece]) -> _T:
        try:
            return step()
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, ValueError, RecursionError) as error:
            called_off = stopped()
            if called_off is not None:  # the package wraps what it does not know
                raise called_off from None
            raise self._typed(error, reception) from error

    def _typed(self, error: Exception, reception: _Receiving[_Piece]) -> UpstreamError:
        partial, detail = reception.partial(), self._detail(error)
        match error:
            case openai.APITimeoutError() | httpx2.TimeoutException():
                return UpstreamTimeout(detail=detail, partial=partial)
            case openai.APIStatusError():
                return self._by_status(error.status_code, error.response.headers.get("retry-after"), detail)
            case openai.APIConnectionError() if isinstance(error.__cause__, httpx2.DecodingError):
                return UpstreamGarbage(detail=detail, partial=partial)
            case openai.APIConnectionError() | httpx2.HTTPError() | httpx2.InvalidURL():
                broken = UpstreamInterrupted if reception.chunks else UpstreamUnavailable
                return broken(detail=detail, partial=partial)
            case openai.APIError() if reception.begun:
                return UpstreamInterrupted(code="PROVIDER_ERROR", detail=detail, partial=partial)
            case openai.APIError():
                return self._by_status(_status_in(error.body), None, detail)
            case openai.OpenAIError():
                return UpstreamUnavailable(code="UNKNOWN", detail=detail, partial=partial)
        return UpstreamGarbage(detail=detail, partial=partial)

    def _by_status(self, status: int, retry_after: str | None, detail: str) -> UpstreamError:
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return UpstreamRateLimited(retry_after_s=self._retry_after_s(retry_after), detail=detail)
        if status == HTTPStatus.REQUEST_TIMEOUT:
            return UpstreamTimeout(detail=detail)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return UpstreamUnavailable(code="PROVIDER_ERROR", detail=detail)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return UpstreamRejected(code="AUTH", detail=detail)
        return UpstreamRejected(detail=detail)

    def _retry_after_s(self, header: str | None) -> int | None:
        """Read Retry-After (RFC 9110, 10.2.3): seconds, or a date."""
        if header is None:
            return None
        try:
            if header.strip().isdecimal():
                seconds = int(header)
            else:
                seconds = math.ceil((parsedate_to_datetime(header) - self._clock.now()).total_seconds())
        except (ValueError, TypeError):
            return None
        return max(0, min(seconds, _LONGEST_RETRY_AFTER_S))

    def _detail(self, error: Exception) -> str:
        if isinstance(error, openai.APIStatusError):
            words = f"HTTP {error.status_code}: {error.response.text}"
        else:
            words = f"{type(error).__name__}: {error}" + (f" ({error.__cause__!r})" if error.__cause__ else "")
        return (words.replace(self._api_key, "[key]") if self._api_key else words)[:_DETAIL_CHARS]


def _status_in(body: object) -> int:
    """Read the status that some servers put into an error event; 500 where there is none."""
    code = str(body.get("code")) if isinstance(body, dict) else ""
    return int(code) if re.fullmatch("[45][0-9]{2}", code) else 500


def _request_body(
    model: str,
    messages: Sequence[ChatMessage],
    max_tokens: int,
    temperature: Decimal | None,
    top_p: Decimal | None,
    stop: Sequence[str],
    schema: dict[str, Any] | None,
    schema_name: str,
    seed: int | None,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if temperature is not None:
        body["temperature"] = float(temperature)
    if top_p is not None:
        body["top_p"] = float(top_p)
    if stop:
        body["stop"] = list(stop)
    if seed is not None:
        body["seed"] = seed
    if schema is not None:
        strict = {"name": schema_name, "schema": schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": strict}
    return body
