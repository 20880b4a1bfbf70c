"""A verification's receipt recomputed from scratch: what its owner is shown, hashed over bytes, nothing of the product's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def whole(salt: bytes, content: bytes) -> str:
    """Return SHA-256(0x00 ‖ salt ‖ content) in hex."""
    return hashlib.sha256(b"\x00" + salt + content).hexdigest()


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 form of what holds no floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def commitments_of_forward(
    salts: Mapping[str, bytes], *, body: bytes, code: str, stored: Mapping[str, Any]
) -> dict[str, str]:
    """Return the commitments that a forward verification's receipt must have; `stored`: its items by stage."""
    contents = {
        "request": body,
        "input": code.encode(),
        "claims": canonical(stored["extract"]["claims"]),
        "verdicts": canonical(stored["verify"]["verdicts"]),
        "output": canonical(stored["remediate"]["remediations"]),
    }
    return {f"{name}_commitment": whole(salts[name], content) for name, content in contents.items()}


def commitments_of_reverse(
    salts: Mapping[str, bytes], *, body: bytes, task: str, stored: Mapping[str, Any]
) -> dict[str, str]:
    """Return the commitments that a reverse verification's receipt must have."""
    chosen = next(attempt for attempt in stored["repair"]["attempts"] if attempt["chosen"])
    claims = {
        "specifications": stored["specify"]["specifications"],
        "constraints": stored["constrain"]["constraints"],
    }
    contents = {
        "request": body,
        "input": task.encode(),
        "claims": canonical(claims),
        "verdicts": canonical(chosen["verdicts"]),
        "output": chosen["code"].encode(),
    }
    return {f"{name}_commitment": whole(salts[name], content) for name, content in contents.items()}
