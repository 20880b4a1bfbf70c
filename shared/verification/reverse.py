"""The stages of `reverse`: specify → constrain → generate → verify → repair."""

from __future__ import annotations

from shared.verification.conformance import verify
from shared.verification.constraints import constrain
from shared.verification.generation import generate
from shared.verification.repair import repair
from shared.verification.specifications import specify

__all__ = ["constrain", "generate", "repair", "specify", "verify"]
