"""A receipt's commitments recomputed from scratch: hashes over bytes, nothing of the product's own."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any


def whole(salt: bytes, content: bytes) -> str:
    """Return SHA-256(0x00 ‖ salt ‖ content) in hex."""
    return hashlib.sha256(b"\x00" + salt + content).hexdigest()


def stream(salt: bytes, run_id: str, wire: bytes) -> str:
    """Return the commitment to a stream as it came over the wire: all events before the one that names the receipt."""
    digest = hashlib.sha256(b"stream" + run_id.encode()).digest()
    for event in events(wire):
        if names_receipt(event):
            break
        digest = hashlib.sha256(digest + hashlib.sha256(event).digest()).digest()
    return hashlib.sha256(b"\x01" + salt + digest).hexdigest()


def events(wire: bytes) -> list[bytes]:
    """Return a stream's events, each with the empty line that ends it; comments left out."""
    return [event for event in re.findall(rb".*?\n\n", wire, re.DOTALL) if not event.startswith(b":")]


def payload(event: bytes) -> Any:
    """Return what an event says: JSON, or the text `[DONE]`."""
    text = next(line for line in event.decode().splitlines() if line.startswith("data: ")).removeprefix("data: ")
    return text if text == "[DONE]" else json.loads(text)


def names_receipt(event: bytes) -> bool:
    """Tell whether this is the event that the receipt is named by."""
    said = payload(event)
    return isinstance(said, dict) and ("receipt_id" in said or "receipt_id" in (said.get("lucid") or {}))
