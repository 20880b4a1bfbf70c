"""The two questions a job asks a model. Its answers are validated and never trusted; its failures become retries or an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.agent import prompts
from shared.kernel.failpoints import effect as failpoint
from shared.llm.clients.openai import Upstream
from shared.llm.model import Completion, UpstreamError, UpstreamRateLimited
from shared.llm.service import ask
from shared.receipts.model import Ran
from shared.work.model import Claim, RetryLater, StepFailed

_RETRY_S = 2.0
_MOST_RETRY_S = 60


@dataclass(frozen=True)
class Opinion:
    """The model's judgement of a request."""

    accepted: bool
    reason: str
    ran: Ran


@dataclass(frozen=True)
class Answer:
    """The model's work."""

    text: str
    finish_reason: str
    ran: Ran


class ModelDesk:
    """Asks the configured upstream. `check` stops a long answer when this process must stop or has lost its lease."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        upstream_name: str,
        eval_model: str,
        work_model: str,
        check: Callable[[Claim], None],
    ) -> None:
        self._upstream = upstream
        self._upstream_name = upstream_name
        self._eval_model = eval_model
        self._work_model = work_model
        self._check = check

    def judge(self, request: str, claim: Claim) -> Opinion:
        """Ask whether the request is accepted. Raises `RetryLater` or `StepFailed`."""
        with failpoint("llm.complete"), _retrying():
            asked = ask(
                self._upstream,
                model=self._eval_model,
                messages=prompts.evaluation(request),
                schema=prompts.EVALUATION_SCHEMA,
                schema_name="evaluation",
                max_tokens=prompts.EVALUATION_MAX_TOKENS,
                on_token=lambda _text: self._check(claim),
            )
        ran = self._ran(self._eval_model, list(asked.completions))
        return Opinion(asked.answer["accepted"], asked.answer["reason"], ran)

    def do(self, request: str, claim: Claim, *, max_tokens: int) -> Answer:
        """Have the request done within `max_tokens` of output. Raises `RetryLater` or `StepFailed`."""
        with failpoint("llm.complete"), _retrying():
            completion = self._upstream.complete(
                model=self._work_model,
                messages=prompts.execution(request),
                max_tokens=max_tokens,
                on_token=lambda _text: self._check(claim),
            )
        return Answer(completion.text, completion.finish_reason, self._ran(self._work_model, [completion]))

    def _ran(self, model: str, completions: list[Completion]) -> Ran:
        last = completions[-1]
        return Ran(
            model_requested=model,
            model_answered=last.model,
            upstream=self._upstream_name,
            tokens_in=sum(completion.tokens_in for completion in completions),
            tokens_out=sum(completion.tokens_out for completion in completions),
            ttft_ms=completions[0].ttft_ms,
            total_latency_ms=sum(completion.latency_ms for completion in completions),
        )


@contextmanager
def _retrying() -> Iterator[None]:
    """Turn a model's failure into what the step machinery understands."""
    try:
        yield
    except UpstreamRateLimited as error:
        raise RetryLater(error.message, delay_s=min(error.retry_after_s or _RETRY_S, _MOST_RETRY_S)) from error
    except UpstreamError as error:
        raise (RetryLater(error.message, delay_s=_RETRY_S) if error.retryable else StepFailed(error.message)) from error
