"""What may be asked of the agent at all: the same rules for a job, a session's request, a free call and an estimate."""

from __future__ import annotations

from shared.kernel.errors import InvalidInput


def require_admissible(request: str, *, max_chars: int) -> None:
    """Raise `InvalidInput` for an empty request, one above `max_chars` characters (the limit is named), one with a NUL."""
    if not request.strip():
        raise InvalidInput("request must not be empty", field="request")
    if len(request) > max_chars:
        raise InvalidInput(f"request exceeds the character limit of {max_chars}", field="request")
    if "\x00" in request:
        raise InvalidInput("request must not hold a NUL character", field="request")
