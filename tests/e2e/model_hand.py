"""The tester's hand on the simulated model: faults for the requests that hold a text, and what it was asked."""

from __future__ import annotations

from typing import Any

import httpx


class ModelHand:
    """`url` is the simulated model's base URL, with `/v1`."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url.removesuffix("/v1"), timeout=10, trust_env=False)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def fault(self, fault: str, *, match: str, times: int | None = 1) -> None:
        """Have the next `times` requests that hold `match` meet `fault`; None: all of them."""
        answer = self._http.post("/faults", json={"fault": fault, "match": match, "times": times})
        assert answer.status_code == httpx.codes.CREATED, answer.text

    def heal(self) -> None:
        """Forget every fault."""
        self._http.delete("/faults").raise_for_status()

    def mark(self) -> int:
        """Return the number of the last request."""
        return int(self._requests(0)["last"])

    def outcomes(self, *, since: int) -> list[str]:
        """Return how the requests after number `since` ended, or `running`."""
        return [request["outcome"] for request in self._requests(since)["requests"]]

    def _requests(self, since: int) -> dict[str, Any]:
        answer = self._http.get("/requests", params={"since": since})
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found
