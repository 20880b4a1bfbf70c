"""What a view may reach: the container, and the request's own id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app, g

from shared.bootstrap import Container
from shared.idempotency.service import Idempotency
from web.cors import Cors

EXTENSION = "lucid"


@dataclass(frozen=True)
class Edge:
    """The parts that the web process holds for all requests."""

    container: Container
    idempotency: Idempotency
    cors: Cors


def edge() -> Edge:
    """Return this application's parts."""
    return edge_of(current_app)


def edge_of(app: Flask) -> Edge:
    """Return the parts of `app`, outside any request."""
    return cast("Edge", app.extensions[EXTENSION])


def container() -> Container:
    """Return the product."""
    return edge().container


def request_id() -> str:
    """Return the id that the answer carries as X-Request-Id; empty before the request was taken in."""
    return cast("str", g.get("request_id", ""))
