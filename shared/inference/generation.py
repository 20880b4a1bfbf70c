"""One run's way from node to node, to one ending. Another node, or the same again, only before the first piece of an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.catalog.addresses import PrivateAddress
from shared.inference import ending
from shared.inference.answer import Answer
from shared.inference.ending import Ending, Figures
from shared.inference.frames import StreamWriter
from shared.inference.messages import characters, in_tool_form, with_every_text, with_text
from shared.inference.model import ErrorCode, PlannedNode, Run
from shared.inference.redaction import RedactionFailed, Redactor
from shared.inference.store import Locked
from shared.inference.upstreams import UpstreamPool
from shared.inference.watch import RunCancelled
from shared.kernel.clock import Clock
from shared.kernel.failpoints import effect as failpoint
from shared.llm.clients.intake import Intake
from shared.llm.model import (
    Delta,
    Partial,
    UpstreamError,
    UpstreamInterrupted,
    UpstreamRateLimited,
    UpstreamUnavailable,
)
from shared.work.model import ShuttingDown

TRIES = 3
RETRY_S = 0.25
LONGEST_PATIENCE_S = 30.0
"""Who asks for more is left, as if he had failed: another node may answer sooner."""
NOTHING = Partial()


@dataclass(frozen=True)
class Ways:
    """What a generation may reach. `check` raises where it must stop; `pause` lets seconds pass, checking; `emit` sends an event on.

    `longest_s`: all tries together, where the policy sets no shorter time.
    """

    pool: UpstreamPool
    clock: Clock
    longest_s: float
    check: Callable[[], None]
    pause: Callable[[float], None]
    emit: Callable[[bytes], None]


@dataclass(frozen=True)
class Request:
    """What is sent, save the model's name."""

    messages: list[dict[str, Any]] = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, clear: Mapping[str, Any], *, redactor: Redactor | None) -> Request:
        """Make ready what was asked; a `redactor` goes through all of it, tools and schemas too. Raises `RedactionFailed`."""
        messages, options = in_tool_form(clear["messages"]), dict(clear["options"])
        if redactor is not None:
            messages = with_text(messages, redactor.text)
            options = {name: with_every_text(value, redactor.text) for name, value in options.items()}
        return cls(messages, options)

    def body(self, model: str) -> dict[str, Any]:
        """Return the request's body for an upstream that calls the model so."""
        return {**self.options, "model": model, "messages": self.messages}

    @property
    def max_tokens(self) -> int | None:
        """Return the bound of the answer, if it has one."""
        bound = self.options.get("max_completion_tokens", self.options.get("max_tokens"))
        return bound if isinstance(bound, int) else None


class _TimeIsUp(Exception):
    """The run's time was over before a node was asked."""


class Generation:
    """Generates one run's answer."""

    def __init__(self, locked: Locked, clear: Mapping[str, Any], ways: Ways) -> None:
        self._run: Run = locked.run
        self._clear = clear
        self._ways = ways
        self._waited_ms = locked.waited_ms
        self._began_s = ways.clock.monotonic()
        left_s = ways.longest_s if locked.left_ms is None else min(ways.longest_s, locked.left_ms / 1000)
        self._ends_s = self._began_s + left_s
        self._stream = StreamWriter(self._run) if self._run.streamed else None
        self._answer = Answer(redacts=self._run.plan.redact_pii)
        self._intake: Intake | None = None
        self._node: PlannedNode = self._run.plan.nodes[0]
        self._ttft_ms: int | None = None
        self._fault: UpstreamError | PrivateAddress | None = None
        self.faults: dict[str, str] = {}
        """The nodes that failed, each with the code of its last failure."""

    @property
    def node(self) -> PlannedNode:
        """Return the node that is asked now."""
        return self._node

    def run(self) -> Ending:
        """Return how it ends. Raises `ShuttingDown` where somebody else may begin anew, `LeaseLost`, and what `emit` raises."""
        try:
            redactor = Redactor(self._check) if self._run.plan.redact_pii else None
            request = Request.read(self._clear, redactor=redactor)
            for node in self._run.plan.nodes:
                self._node = node
                if self._try(node, request):
                    return self._completed()
                if self._has_output or self._left_s <= 0:
                    break
        except RunCancelled as error:
            return ending.cancelled(self._figures(), error.reason, self._answer.reply(), stream=self._stream)
        except RedactionFailed as error:
            return self._failed(ErrorCode.REDACTION_FAILED, error.message)
        except _TimeIsUp:
            pass
        except ShuttingDown:
            if self._stream is None or not self._stream.frames:
                raise
            return self._failed(ErrorCode.INTERRUPTED, ending.INTERRUPTED)
        if self._left_s <= 0:
            return self._failed(ErrorCode.TIMEOUT, ending.TIMED_OUT)
        return self._failed(*_told(self._fault))

    def _check(self) -> None:
        self._ways.check()
        if self._left_s <= 0:
            raise _TimeIsUp

    # -- one node

    def _try(self, node: PlannedNode, request: Request) -> bool:
        """Tell whether the node answered, trying it again where that may help; `_fault` is the last failure."""
        for attempt in range(1, TRIES + 1):
            try:
                self._ask(node, request)
            except (UpstreamError, PrivateAddress) as error:
                self._fault = error
                self.faults[node.passport_id] = _told(error)[0]
            else:
                return True
            delay_s = self._delay_s(attempt)
            if self._has_output or delay_s is None:
                return False
            self._ways.pause(delay_s)
        return False

    def _ask(self, node: PlannedNode, request: Request) -> None:
        self._ways.check()
        client = self._ways.pool.client(node)
        self._intake = Intake(
            model=node.model, prompt_chars=characters(request.messages), max_tokens=request.max_tokens
        )
        with failpoint("llm.complete"):
            client.relay(
                request.body(node.model),
                self._intake,
                on_delta=self._take,
                check=self._ways.check,
                deadline_s=max(self._left_s, 0.001),
            )

    def _take(self, delta: Delta) -> None:
        if self._ttft_ms is None:
            self._ttft_ms = self._elapsed_ms
        leaving = self._answer.take(delta)
        if leaving is None or self._stream is None:
            return
        frame = self._stream.piece(leaving)
        if frame is not None:
            self._ways.emit(frame)

    def _delay_s(self, attempt: int) -> float | None:
        """Return how long to wait before the same node is asked again; None where it is not."""
        fault = self._fault
        if attempt == TRIES or not isinstance(fault, UpstreamRateLimited | UpstreamUnavailable | UpstreamInterrupted):
            return None
        named_s = fault.retry_after_s if isinstance(fault, UpstreamRateLimited) else None
        delay_s = RETRY_S * attempt if named_s is None else float(named_s)
        return delay_s if delay_s < min(self._left_s, LONGEST_PATIENCE_S) else None

    # -- how it ends

    def _completed(self) -> Ending:
        assert self._intake is not None  # noqa: S101 - a node has answered
        reason = self._intake.finish_reason or ""
        held = self._answer.finish()
        if self._stream is not None:
            self._stream.piece(held, finish_reason=reason)
        figures = self._figures()
        return ending.complete(figures, self._answer.reply(), finish_reason=reason, stream=self._stream)

    def _failed(self, code: ErrorCode, message: str) -> Ending:
        return ending.failed(self._figures(), code, message, stream=self._stream)

    def _figures(self) -> Figures:
        partial = self._intake.partial() if self._intake is not None else NOTHING
        primary = self._run.plan.nodes[0]
        fell_back = self._node is not primary
        return Figures(
            node=self._node,
            total_latency_ms=self._elapsed_ms,
            ttft_ms=self._ttft_ms or 0,
            model_answered=self._intake.model if self._intake is not None else "",
            tokens_in=partial.tokens_in,
            tokens_out=partial.tokens_out,
            tokens_reported=partial.usage_reported,
            used_fallback=fell_back,
            fallback_reason=f"{primary.passport_id}: {self.faults.get(primary.passport_id)}" if fell_back else None,
        )

    @property
    def _has_output(self) -> bool:
        return self._intake is not None and self._intake.has_output

    @property
    def _elapsed_ms(self) -> int:
        return self._waited_ms + int((self._ways.clock.monotonic() - self._began_s) * 1000)

    @property
    def _left_s(self) -> float:
        return self._ends_s - self._ways.clock.monotonic()


def clear_input(locked: Locked, opened: Callable[[str, bytes], bytes]) -> Mapping[str, Any]:
    """Return what was asked, unsealed by `opened` where it was sealed."""
    if locked.sealed_input is None:
        return locked.input or {"messages": [], "options": {}}
    clear: Mapping[str, Any] = json.loads(opened(locked.run.run_id, locked.sealed_input))
    return clear


def _told(fault: UpstreamError | PrivateAddress | None) -> tuple[ErrorCode, str]:
    if isinstance(fault, UpstreamError):
        return ErrorCode(fault.code), fault.message
    if fault is not None:
        return ErrorCode.CONNECTION, fault.message
    return ErrorCode.UNKNOWN, "The model failed."
