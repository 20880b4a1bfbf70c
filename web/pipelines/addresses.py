"""One spelling for the door's addresses: the case of their letters and a slash at the end change nothing, and redirect nobody.

Whoever counts calls, keys or routes by path sees the same path, however it was written.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BASE = "/api/v1"
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def canonical(path: str) -> str:
    """Return the one spelling of an address of this door; any other address as it is.

    No id or name in an address of this door has a capital letter.
    """
    lowered = path.translate(_LOWER)
    return lowered.removesuffix("/") if lowered.startswith(f"{BASE}/") else path


class OneSpelling:
    """A WSGI application that gets every address of the door in its one spelling."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, request: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]:
        request["PATH_INFO"] = canonical(request.get("PATH_INFO", ""))
        return self._application(request, start_response)
