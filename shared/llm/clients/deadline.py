"""Deadlines that hold while a response trickles.

An HTTP client's read timeout starts anew with every read, so an upstream that sends a comment a second never meets it.
Here each socket operation gets what is left of the call instead: no thread watches, and no read outlives the call.
Name resolution is the one step that can't be bounded.

A call that can be called off has its reads cut into slices, and is asked between them whether it still is wanted: an upstream
may be silent for as long as it may think. Connecting and writing are not sliced; both end within their own short time.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import httpcore2
import httpx2

from shared.kernel.clock import Clock

_LAST_BYTES_WITHIN_S = 0.1
"""How long the end of a complete answer is waited for. With it the connection can be kept; without it, it is closed."""
_ASKED_EVERY_S = 0.25
_KEPT_ALIVE = 32
_KEPT_ALIVE_S = 30.0
AcceptsPeer = Callable[[str], bool]
"""Judges the IP address that a connection leads to."""
_SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class CallLimits:
    """When the next thing must have come: the first token, then the end, then the usage. All in monotonic seconds.

    `check` raises where the call is not wanted any more; `stopped` is then what it raised, whatever a library made of it.
    """

    def __init__(
        self, clock: Clock, *, first_token_s: float, deadline_s: float, check: Callable[[], None] | None = None
    ) -> None:
        self._clock = clock
        self._check = check
        self.stopped: Exception | None = None
        self._started = clock.monotonic()
        self._end = self._started + deadline_s
        self._by = min(self._end, self._started + first_token_s)
        self._complete = False

    @property
    def is_asked(self) -> bool:
        """Whether the call can be called off."""
        return self._check is not None

    def ask(self) -> None:
        """Raise what says that the call is not wanted any more."""
        if self._check is not None:
            try:
                self._check()
            except Exception as error:
                self.stopped = error
                raise

    def elapsed_ms(self) -> int:
        """Return whole milliseconds since the call began."""
        return int((self._clock.monotonic() - self._started) * 1000)

    def remaining_s(self) -> float:
        """Return seconds left for what is due next; zero or less once it is late."""
        return self._by - self._clock.monotonic()

    def allow_whole_deadline(self) -> None:
        """The first token is here: from now on only the end is due."""
        self._by = self._end

    def allow_only_usage(self, seconds: float) -> None:
        """The answer is complete: what is still to come may take `seconds`, counted once."""
        if not self._complete:
            self._complete = True
            self._by = min(self._end, self._clock.monotonic() + seconds)

    def allow_only_last_bytes(self) -> bool:
        """Allow a moment more where the answer is complete; False where it is not."""
        if self._complete:
            self._by = min(self._by, self._clock.monotonic() + _LAST_BYTES_WITHIN_S)
        return self._complete

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Bound every socket operation that this thread does inside."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)


_CURRENT: ContextVar[CallLimits | None] = ContextVar("call_limits", default=None)


def stopped() -> Exception | None:
    """Return what called off the call that this thread is in."""
    limits = _CURRENT.get()
    return None if limits is None else limits.stopped


def _bounded(timeout_s: float | None, late: type[Exception]) -> float | None:
    limits = _CURRENT.get()
    if limits is None:
        return timeout_s
    remaining_s = limits.remaining_s()
    if remaining_s <= 0:
        raise late("the call's deadline has passed")
    return remaining_s if timeout_s is None else min(timeout_s, remaining_s)


class _LimitedStream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        limits = _CURRENT.get()
        if limits is None or not limits.is_asked:
            return self._inner.read(max_bytes, _bounded(timeout, httpcore2.ReadTimeout))
        while True:
            limits.ask()
            left_s = _bounded(timeout, httpcore2.ReadTimeout)
            try:
                return self._inner.read(max_bytes, _ASKED_EVERY_S if left_s is None else min(left_s, _ASKED_EVERY_S))
            except httpcore2.ReadTimeout:
                continue  # silence; the call's own limit ends it

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _bounded(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        bounded = _bounded(timeout, httpcore2.ConnectTimeout)
        return _LimitedStream(self._inner.start_tls(ssl_context, server_hostname, bounded))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _LimitedBackend(httpcore2.SyncBackend):
    def __init__(self, accepts_peer: AcceptsPeer | None) -> None:
        self._accepts_peer = accepts_peer

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore2.NetworkStream:
        bounded = _bounded(timeout, httpcore2.ConnectTimeout)
        stream = super().connect_tcp(host, port, bounded, local_address, socket_options)
        if self._accepts_peer is not None and not self._accepts_peer(str(stream.get_extra_info("server_addr")[0])):
            stream.close()
            raise httpcore2.ConnectError("the address leads to where no call may go")
        return _LimitedStream(stream)


class _ReadToItsEnd(httpx2.SyncByteStream):
    """A response's bytes. Closing it reads what still comes of a complete answer: the client stops at `[DONE]`, just before the end.

    A connection whose response was not read to its end cannot be used again, and a new one costs a TLS handshake a call.
    """

    def __init__(self, inner: httpx2.SyncByteStream) -> None:
        self._inner = inner
        self._parts = iter(inner)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts

    def close(self) -> None:
        limits = _CURRENT.get()
        try:
            if limits is not None and limits.allow_only_last_bytes():
                self._drain(limits)
        finally:
            self._inner.close()

    def _drain(self, limits: CallLimits) -> None:
        with suppress(httpx2.HTTPError):
            for _ in self._parts:
                if limits.remaining_s() <= 0:
                    return


class LimitedTransport(httpx2.HTTPTransport):
    """httpx2's own transport over sockets that keep to the current `CallLimits`. No limit on connections at once.

    A transport of one's own takes no proxy from the environment.
    """

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return the response, its body still to be read."""
        response = super().handle_request(request)
        assert isinstance(response.stream, httpx2.SyncByteStream)  # noqa: S101 - of a synchronous transport
        response.stream = _ReadToItsEnd(response.stream)
        return response

    def __init__(self, accepts_peer: AcceptsPeer | None = None) -> None:
        # Not the base class's constructor: all it does is build the pool, and it can't be given a network backend.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            max_connections=None,
            max_keepalive_connections=_KEPT_ALIVE,
            keepalive_expiry=_KEPT_ALIVE_S,
            network_backend=_LimitedBackend(accepts_peer),
        )
