"""The one error tree. `web/problems.py` maps it to HTTP; `shared/work` decides what is retried.

LucidError
├── InvalidInput          the caller's fault, with the field it concerns
│   └── Unprocessable        well formed, but what it asks for cannot be; may say more in `details`
├── NotFound              no such thing, or not the caller's
├── Conflict              the thing is in another state than the call needs
│   └── TransitionConflict   somebody else moved the row first
├── Unauthorized          no credential, or not one of ours
├── Forbidden             the credential is good, and does not reach that far
├── PaymentRequired       what is paid for does not suffice; says how many sats would
├── Gone                  the thing has ended for good
├── TooMany               a limit was reached; says when to come back
├── Unavailable           a part we need is down; says when to come back
│   └── DeadlinePassed    the work goes on or was undone; the answer did not come in time
└── IntegrityFault        something that must never happen: a broken invariant, a forged proof
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LucidError(Exception):
    """Any failure with a meaning. `code` is stable and machine-readable; `message` may be shown to a caller."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class InvalidInput(LucidError):
    """The request is malformed or breaks a bound. `field` names the part, as the caller wrote it."""

    code = "invalid_request"

    def __init__(self, message: str, *, field: str | None = None, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.field = field


class Unprocessable(InvalidInput):
    """The request is well formed, and what it asks for cannot be. `details`: JSON values that may be shown to the caller."""

    code = "validation_error"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, field=field, code=code)
        self.details = dict(details or {})


class NotFound(LucidError):
    """There is no such thing for this caller."""

    code = "not_found"


class Conflict(LucidError):
    """The thing exists, in a state that does not allow the call."""

    code = "conflict"


class TransitionConflict(Conflict):
    """A compare-and-set found another state: somebody else moved the row."""

    code = "transition_conflict"


class Unauthorized(LucidError):
    """The credential is missing, malformed, or not valid here."""

    code = "unauthorized"


class Forbidden(LucidError):
    """The caller is known, and what it asks for is not its to do."""

    code = "forbidden"


class PaymentRequired(LucidError):
    """What the caller has paid does not cover the call. `needed_sats`: what the call may cost; `available_sats`: what is there."""

    code = "insufficient_balance"

    def __init__(self, message: str, *, needed_sats: int, available_sats: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.needed_sats = needed_sats
        self.available_sats = available_sats


class Gone(LucidError):
    """The thing has ended, and nothing brings it back."""

    code = "gone"


class TooMany(LucidError):
    """A limit is reached. `retry_after_s`: whole seconds until a new try makes sense."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Unavailable(LucidError):
    """A part this call needs does not answer. `retry_after_s`: whole seconds until a new try makes sense."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 5, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class DeadlinePassed(Unavailable):
    """The answer did not come within the time a synchronous call may take."""

    code = "deadline_passed"


class IntegrityFault(LucidError):
    """An invariant is broken. Nothing is guessed: the operation stops and an operator has to look."""

    code = "integrity_fault"
