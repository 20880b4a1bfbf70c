"""How a node says no."""

from __future__ import annotations

import grpc


class Refused(Exception):
    """A gRPC status with lnd's own text. lnd sends most of its errors as UNKNOWN."""

    def __init__(self, details: str, *, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> None:
        super().__init__(details)
        self.details = details
        self.code = code
