"""What is said to a model, what comes back, and how that fails.

UpstreamError                 `retryable` says whether the same call may succeed later
├── UpstreamUnavailable       no connection (CONNECTION), or a 5xx (PROVIDER_ERROR): retryable
├── UpstreamRateLimited       429 (RATE_LIMIT), with the upstream's own `retry_after_s` if it named one: retryable
├── UpstreamTimeout           the first token or the end came too late (TIMEOUT): retryable
├── UpstreamInterrupted       the stream broke off after it had begun (CONNECTION, PROVIDER_ERROR): retryable
├── UpstreamGarbage           what came is not a completion, or is empty (INVALID_RESPONSE): retryable
│   └── UnreadableAnswer      a completion that is not the document asked for: asked again already, so final
└── UpstreamRejected          another 4xx (AUTH for 401 and 403, else PROVIDER_ERROR): final
    └── UpstreamRefused       the model declined, or its filter did: final

The codes are those of the inference API's `error_code`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.kernel.errors import LucidError

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class ChatMessage:
    """One message of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Completion:
    """A finished answer. Without usage from upstream the token counts are our estimate (characters / 4, rounded up).

    `ttft_ms`: from the call to the first text; `latency_ms`: from the call to the end.
    """

    text: str
    model: str
    finish_reason: str
    tokens_in: int
    tokens_out: int
    usage_reported: bool
    ttft_ms: int
    latency_ms: int


@dataclass(frozen=True, slots=True)
class Delta:
    """One piece of an answer that is handed on as it comes. Lists and objects are OpenAI's own, as the upstream sent them."""

    text: str = field(default="", repr=False)
    tool_calls: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    refusal: str | None = field(default=None, repr=False)
    logprobs: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Partial:
    """What had come before a failure. The counts are upstream's usage if it came, else our estimate; 0 for no text."""

    text: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    usage_reported: bool = False


NOTHING = Partial()


def estimated_tokens(characters: int) -> int:
    """Return the tokens that we count for a text where upstream reports none: a quarter of it, rounded up."""
    return -(-characters // 4)


class UpstreamError(LucidError):
    """The model's API failed. `message` may be shown; `detail` holds upstream's own words and is for logs only.

    `completions`: the finished answers that the same use case had already received and that cost tokens.
    """

    code = "UNKNOWN"
    retryable = False
    shown = "The model failed."

    def __init__(self, *, code: str | None = None, detail: str = "", partial: Partial = NOTHING) -> None:
        super().__init__(self.shown, code=code)
        self.detail = detail
        self.partial = partial
        self.completions: tuple[Completion, ...] = ()


class UpstreamUnavailable(UpstreamError):
    """No connection, or the upstream's own fault."""

    code = "CONNECTION"
    retryable = True
    shown = "The model can't be reached."


class UpstreamRateLimited(UpstreamError):
    """Too many requests. `retry_after_s`: whole seconds, None where the upstream named none."""

    code = "RATE_LIMIT"
    retryable = True
    shown = "The model is busy."

    def __init__(self, *, retry_after_s: int | None, detail: str = "", partial: Partial = NOTHING) -> None:
        super().__init__(detail=detail, partial=partial)
        self.retry_after_s = retry_after_s


class UpstreamTimeout(UpstreamError):
    """The first token, or the whole answer, did not come in time. `partial` holds what did."""

    code = "TIMEOUT"
    retryable = True
    shown = "The model did not answer in time."


class UpstreamInterrupted(UpstreamError):
    """The stream broke off. `partial` holds what had come."""

    code = "CONNECTION"
    retryable = True
    shown = "The model's answer broke off."


class UpstreamGarbage(UpstreamError):
    """What came is not a completion, or has no text."""

    code = "INVALID_RESPONSE"
    retryable = True
    shown = "The model's answer made no sense."


class UnreadableAnswer(UpstreamGarbage):
    """A completion whose text is not the document that was asked for."""

    retryable = False
    shown = "The model's answer could not be read."


class UpstreamRejected(UpstreamError):
    """The request is refused as it is: trying again would not help."""

    code = "PROVIDER_ERROR"
    shown = "The model refused the request."


class UpstreamRefused(UpstreamRejected):
    """The model declined to answer, or a content filter cut it off."""

    shown = "The model declined to answer."
