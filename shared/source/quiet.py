"""Silences warnings for a moment: they concern submitted text or a library's own plans, and nobody here could act on them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_FILTERS = threading.Lock()
"""The filters are the process's: two threads that put them back in the wrong order would leave them changed."""


@contextmanager
def no_warnings() -> Iterator[None]:
    """Ignore every warning, one thread at a time."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
