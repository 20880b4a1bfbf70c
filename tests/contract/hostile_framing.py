"""What is sent to harm so that nobody can tell where it ends: lengths, codings, chunks, header lines, and what is no request."""

from __future__ import annotations

from tests.contract.hostile import CHUNKED, JSON, WORK

BROKEN = (
    {
        f"Content-Length: {name}": JSON + b"Content-Length: " + value + b"\r\n\r\n" + WORK
        for name, value in {
            "longer": b"9999",
            "endless": b"9" * 40,
            "past all": b"9" * 5000,
            "negative": b"-1",
            "signed": b"+25",
            "a word": b"many",
            "a fraction": b"25.0",
            "hexadecimal": b"0x19",
            "an exponent": b"2e1",
            "a list": b"25, 25",
            "nothing": b"",
            "with space": b"2 5",
            "superscript": b"\xb2",
            "with an underscore": b"2_5",
            "twice": b"25\r\nContent-Length: 25",
            "twice, and different": b"25\r\nContent-Length: 2",
            "and chunks": b"25\r\nTransfer-Encoding: chunked",
        }.items()
    }
    | {
        f"Transfer-Encoding: {name}": JSON
        + b"Transfer-Encoding: "
        + value
        + b"\r\n\r\n19\r\n"
        + WORK
        + b"\r\n0\r\n\r\n"
        for name, value in {
            "identity": b"identity",
            "twice": b"chunked, chunked",
            "chunked before gzip": b"chunked, gzip",
            "gzip before chunked": b"gzip, chunked",
            "unknown": b"cow",
            "nothing": b"",
            "with a tab inside": b"chu\tnked",
            "with bytes": b"chunked\xff",
            "with a parameter": b"chunked;q=1",
            "in two lines": b"chunked\r\nTransfer-Encoding: identity",
        }.items()
    }
    | {
        f"chunks: {name}": CHUNKED + value
        for name, value in {
            "no size": b"\r\n" + WORK + b"\r\n0\r\n\r\n",
            "no number": b"zz\r\n" + WORK + b"\r\n0\r\n\r\n",
            "negative": b"-19\r\n" + WORK + b"\r\n0\r\n\r\n",
            "a prefix": b"0x19\r\n" + WORK + b"\r\n0\r\n\r\n",
            "endless": b"F" * 40 + b"\r\n" + WORK,
            "endless digits": b"0" * 20_000 + b"19\r\n" + WORK + b"\r\n0\r\n\r\n",
            "longer than said": b"10\r\n" + WORK + b"\r\n0\r\n\r\n",
            "shorter than said": b"20\r\n" + WORK + b"\r\n0\r\n\r\n",
            "cut off": b"19\r\n" + WORK[:9],
            "cut off before the end": b"19\r\n" + WORK + b"\r\n",
            "cut off at the end": b"19\r\n" + WORK + b"\r\n0\r\n",
            "line feeds only": b"19\n" + WORK + b"\n0\n\n",
            "a bare carriage return": b"19;a\rb\r\n" + WORK + b"\r\n0\r\n\r\n",
            "a NUL extension": b"19;\x00\r\n" + WORK + b"\r\n0\r\n\r\n",
            "an endless extension": b"19;a=" + b"b" * 200_000 + b"\r\n" + WORK + b"\r\n0\r\n\r\n",
            "a trailer that is none": b"19\r\n" + WORK + b"\r\n0\r\nno trailer\r\n\r\n",
            "a trailer that frames": b"19\r\n" + WORK + b"\r\n0\r\nContent-Length: 9\r\n\r\n",
            "a trailer that authorizes": b"19\r\n" + WORK + b"\r\n0\r\nAuthorization: Bearer a\r\n\r\n",
            "endless trailers": b"19\r\n" + WORK + b"\r\n0\r\n" + b"X: y\r\n" * 200_000 + b"\r\n",
            "a bad trailer byte": b"19\r\n" + WORK + b"\r\n0\r\nX: \x00\r\n\r\n",
        }.items()
    }
    | {
        f"a header: {name}": value + b"\r\n\r\n"
        for name, value in {
            "NUL": b"X: a\x00b",
            "a control byte": b"X: a\x01b",
            "a vertical tab": b"X: \x0b",
            "DEL": b"X: \x7f",
            "an escape": b"Authorization: Bearer \x1b[31m",
            "a bare carriage return": b"X: a\rb",
            "a bare line feed": b"X: a\nY: b",
            "folded": b"X: a\r\n b",
            "no colon": b"X",
            "no name": b": x",
            "a space before the colon": b"X : y",
            "a space in the name": b"X Y: z",
            "a byte in the name": b"X\xff: y",
            "a NUL in the name": b"X\x00: y",
            "a parenthesis in the name": b"X(): y",
            "two hosts": b"Host: b",
            "two types": b"Content-Type: a/b\r\nContent-Type: c/d",
            "too long": b"X: " + b"y" * 300_000,
            "too many": b"\r\n".join(b"X: y" for _ in range(5000)),
            "an expectation": b"Expect: 200-ok",
        }.items()
    }
)
"""Header lines and bodies behind a request line and a Host: what is wrong with each keeps the server from knowing where it ends, or
makes it end too soon. Sent, then nothing more: the caller says that it is done."""

NO_REQUESTS = {
    "nothing": b"",
    "half a line": b"GET / HT",
    "half a head": b"GET / HTTP/1.1\r\nHost: a\r\n",
    "HTTP/0.9": b"GET /api/healthz\r\n\r\n",
    "HTTP/2.0": b"GET /api/healthz HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/9.9": b"GET /api/healthz HTTP/9.9\r\nHost: a\r\n\r\n",
    "no version": b"GET /api/healthz HTTP/\r\nHost: a\r\n\r\n",
    "another protocol": b"GET /api/healthz RTSP/1.0\r\nHost: a\r\n\r\n",
    "line feeds only": b"GET /api/healthz HTTP/1.1\nHost: a\n\n",
    "a space in the path": b"GET /api/ healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "a byte in the path": b"GET /api/\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "a NUL in the path": b"GET /api/\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a bracket in the target": b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "an authority": b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "a PROXY line": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty lines": b"\r\n" * 5000,
    "an endless line": b"GET /" + b"x" * 900_000,
    "an endless head": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000,
    "bytes": bytes(range(256)) * 100,
}
