"""What the service says about itself: OpenAPI documents, a page for people, a text for language models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, render_template

from web.documents.openapi import Served, operations_of, served_document
from web.documents.text import llms_text
from web.door import Api
from web.exact_json import DOCUMENT_INDENT, encode
from web.problems import CAUSES, HTTP_FAULTS, INTERNAL

AGENT = Served("paid agent", "/api/openapi.json", base="/api")
GATEWAY = Served("gateway", "/openapi.json", base="")
VERIFICATION = Served("verification", "/api/v1/openapi.json", base="")

PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def register(app: Flask, apis: Mapping[Served, Api]) -> None:
    """Serve every document, the page that renders them, and `/llms.txt`."""
    documents = {served: served_document(api.document(), base=served.base) for served, api in apis.items()}
    for served, document in documents.items():
        text = encode(document, indent=DOCUMENT_INDENT) + "\n"
        app.add_url_rule(served.path, endpoint=f"document.{served.name}", view_func=_constant(text, "application/json"))
    page = _Page(documents)
    app.add_url_rule("/docs", endpoint="docs", view_func=page)
    app.add_url_rule("/llms.txt", endpoint="llms", view_func=_constant(llms_text(documents), "text/plain"))


class _constant:  # noqa: N801 - a view, called like a function
    """A view whose answer never changes."""

    def __init__(self, text: str, media_type: str) -> None:
        self.__name__ = "constant"
        self._text = text
        self._media_type = media_type

    def __call__(self) -> Response:
        return Response(self._text, mimetype=self._media_type, headers={"Cache-Control": "no-cache"})


class _Page:
    """The only HTML of the product: the documents, rendered here, without script or foreign host."""

    def __init__(self, documents: Mapping[Served, dict[str, Any]]) -> None:
        self.__name__ = "docs"
        self._rooms = [
            {"served": served, "info": document["info"], "operations": operations_of(document, base=served.base)}
            for served, document in documents.items()
        ]

    def __call__(self) -> Response:
        ours = sorted({(kind.code, int(status), (kind.__doc__ or "").splitlines()[0]) for kind, status in CAUSES})
        plain = sorted((code, status, message) for status, (code, message) in HTTP_FAULTS.items())
        known = {code for code, _status, _text in ours}
        errors = [*ours, *(row for row in plain if row[0] not in known), (INTERNAL[0], 500, INTERNAL[1])]
        html = render_template("page.html", rooms=self._rooms, errors=sorted(errors))
        return Response(html, mimetype="text/html", headers={"Content-Security-Policy": PAGE_POLICY})
