"""The log for strangers: root, checkpoint and tiles (c2sp.org/tlog-tiles), public and cacheable."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, request

from shared.kernel.errors import NotFound
from shared.merkle.tiles import TILE_WIDTH, Tile
from shared.receipts.model import LogHead
from web.context import container
from web.door import Answers, Operations
from web.gateway import schemas
from web.gateway.views import EMPTY_ROOT

operations = Operations("Log", __name__, description="The append-only log of receipts")

FULL_TILE = "public, max-age=31536000, immutable"
PARTIAL_TILE = "public, max-age=3600"
_NOTE_OR_JSON = {
    "text/plain": {"schema": {"type": "string"}},  # first: what comes to whoever does not ask
    "application/json": {"schema": schemas.CheckpointSchema},
}


def newest_head() -> LogHead | None:
    """Return the newest checkpoint, None before the sequencer has first run."""
    try:
        return container().reading.head()
    except NotFound:
        return None


@operations.get("/v1/mmr/root", "lucid_get_mmr_root", Answers(schemas.MmrRootSchema, errors=(500, 503)))
def get_root() -> dict[str, Any]:
    """Get the log's root and size"""
    head = newest_head()
    root, size = (head.root, head.size) if head else (EMPTY_ROOT, 0)
    return {"success": True, "root": root.hex(), "leaf_count": size}


@operations.get("/checkpoint", "lucid_get_checkpoint", Answers(None, errors=(404, 500, 503)))
@operations.doc(responses={200: {"content": _NOTE_OR_JSON}})  # type: ignore[untyped-decorator] # the library's own
def get_checkpoint() -> Response:
    """Get the newest checkpoint: a signed note, or JSON where the client asks for it"""
    head = container().reading.head()
    if request.accept_mimetypes.best_match(["text/plain", "application/json"]) == "application/json":
        shown = {"success": True, "size": head.size, "root": head.root.hex(), "note": head.note}
        response = Response(current_app.json.dumps(shown) + "\n", mimetype="application/json")
    else:
        response = Response(head.note, content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Vary"] = "Accept"
    return response


@operations.get(
    "/tile/<path:tile>",
    "lucid_get_tile",
    Answers(None, errors=(400, 404, 500, 503), media_type="application/octet-stream"),
)
def get_tile(tile: str) -> Response:
    """Get a tile of the log (c2sp.org/tlog-tiles)"""
    path = f"tile/{tile}"
    response = Response(container().reading.tile(path), mimetype="application/octet-stream")
    is_full = Tile.parse(path).width == TILE_WIDTH
    response.headers["Cache-Control"] = FULL_TILE if is_full else PARTIAL_TILE
    return response
