"""What is sent to harm in well-framed requests: bodies, header lines, hosts, targets, methods."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable

MEGABYTE = 1024 * 1024
ID = b"0" * 64
"""A plausible id: a receipt's hash."""
JSON = b"Content-Type: application/json\r\n"
WORK = b'{"request": "Say hello."}'
CHUNKED = JSON + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(b" " * (64 * MEGABYTE))


def path_of(target: bytes) -> bytes:
    """Return the path of a request's target, as the server sees it."""
    return re.sub(rb"^[a-z]+://[^/?#]*", b"", re.split(rb"[?#]", target, maxsplit=1)[0])


def sized(content: bytes, lines: bytes = JSON) -> bytes:
    """Return header lines, the empty line and the body."""
    return lines + b"Content-Length: %d\r\n\r\n" % len(content) + content


def chunked(*parts: bytes) -> bytes:
    """Return the same with a body in chunks."""
    return CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def typed(media_type: bytes, content: bytes = WORK) -> bytes:
    """Return a body that claims to be `media_type`."""
    return sized(content, b"Content-Type: " + media_type + b"\r\n")


def coded(coding: bytes, content: bytes) -> bytes:
    """Return a body that claims a content coding."""
    return sized(content, JSON + b"Content-Encoding: " + coding + b"\r\n")


MESSAGES = {
    name: sized(b'{"request": %s, "amount_sats": %s, "invoice": %s, "code": %s}' % (value, value, value, value))
    for name, value in {
        "null": b"null",
        "false": b"false",
        "an object": b'{"request": {}}',
        "a list": b"[[]]",
        "zero": b"0",
        "minus zero": b"-0.0",
        "2^63": b"9223372036854775808",
        "-2^63-1": b"-9223372036854775809",
        "many digits": b"9" * 4000,
        "too many digits": b"9" * 5000,
        "1e400": b"1e400",
        "1e-400": b"1e-400",
        "a huge exponent": b"1e999999999999",
        "hexadecimal": b"0x10",
        "a leading zero": b"007",
        "NaN": b"NaN",
        "Infinity": b"-Infinity",
        "a high surrogate": b'"\\ud800"',
        "a low surrogate": b'"\\udc00x"',
        "surrogates in the wrong order": b'"\\udc00\\ud800"',
        "a paired surrogate": b'"\\ud83d\\ude00\\ud83d"',
        "escaped NUL": b'"a\\u0000b"',
        "a raw NUL": b'"a\x00b"',
        "a raw newline": b'"a\nb"',
        "an unknown escape": b'"\\x41"',
        "not UTF-8": b'"\xff\xfe"',
        "overlong UTF-8": b'"\xc0\x80"',
        "a surrogate in UTF-8": b'"\xed\xa0\x80"',
        "past Unicode": b'"\xf5\x80\x80\x80"',
        "noncharacters": '"\uffff\ufffe\ufdd0\u202e\u2066"'.encode(),
        "only spaces": '" \u00a0\u2003\u200b\ufeff"'.encode(),
        "single quotes": b"'x'",
        "a comment": b'"x" /* */',
    }.items()
} | {
    "nothing": b"\r\n",
    "nothing, of JSON": JSON + b"Content-Length: 0\r\n\r\n",
    "white space": sized(b" \t\r\n" * 1000),
    "no JSON": sized(b"{"),
    "two documents": sized(WORK + WORK),
    "garbage behind": sized(WORK + b"\x00"),
    "a byte order mark": sized(b"\xef\xbb\xbf" + WORK),
    "UTF-16": sized(WORK.decode().encode("utf-16")),
    "UTF-32": sized(WORK.decode().encode("utf-32")),
    "a string": sized(b'"request"'),
    "a number": sized(b"1"),
    "a list of objects": sized(b"[" + WORK + b"]"),
    "duplicate keys": sized(b'{"request": "x", "request": null, "request": []}'),
    "strange keys": sized(b'{"__proto__": {"x": 1}, "": "", "\\u0000": 1, "$ref": "#", "__class__": {}}'),
    "many keys": sized(json.dumps({str(n): n for n in range(50_000)}).encode()),
    "a long key": sized(json.dumps({"k" * 900_000: 1}).encode()),
    "deep lists": sized(b'{"request":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "deep objects": sized(b'{"a":' * 90_000 + b"1" + b"}" * 90_000),
    "open lists": sized(b"[" * 900_000),
    "a mebibyte": sized(b'{"x": "' + b"y" * (MEGABYTE - 9) + b'"}'),
    "a mebibyte and a byte": sized(b'{"x": "' + b"y" * (MEGABYTE - 8) + b'"}'),
    "two mebibytes in chunks": chunked(b"[", b" " * (2 * MEGABYTE), b"]"),
    "chunks of a byte": chunked(*(WORK[n : n + 1] for n in range(len(WORK)))),
    "chunks with extensions and trailers": CHUNKED
    + b'2;a=b;c="d"\r\n{}\r\n0;z\r\nX-Trailer: 1\r\nX-Request: 2\r\n\r\n',
    "continue": sized(WORK, JSON + b"Expect: 100-continue\r\n"),
    "a length with zeros before it": JSON + b"Content-Length: 00000000002\r\n\r\n{}",
    "gzip": coded(b"gzip", gzip.compress(WORK)),
    "a gzip bomb": coded(b"gzip", BOMB),
    "a gzip bomb in gzip": coded(b"gzip, gzip", gzip.compress(BOMB)),
    "a deflate bomb": coded(b"deflate", zlib.compress(b" " * (64 * MEGABYTE))),
    "no gzip": coded(b"gzip", b"\x1f\x8b\x08\xff\xff"),
    "an unknown coding": coded(b"\xff;q=1", WORK),
    "identity": coded(b"identity", WORK),
    "text": typed(b"text/plain"),
    "HTML": typed(b"text/html", b"<html><script>alert(1)</script></html>"),
    "XML": typed(b"application/xml", b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'),
    "a form": typed(b"application/x-www-form-urlencoded", b"request=x&" * 5000),
    "a form of parts": typed(
        b"multipart/form-data; boundary=a", b"--a\r\nContent-Disposition: form-data\r\n\r\nx\r\n--a--"
    ),
    "parts without a boundary": typed(b"multipart/form-data", b"--\r\n\r\n--"),
    "broken parts": typed(b'multipart/form-data; boundary="', b"\r\n" * 1000),
    "JSON in UTF-16": typed(b"application/json; charset=utf-16", WORK.decode().encode("utf-16")),
    "JSON in no charset": typed(b"application/json; charset=\xff\xfe"),
    "JSON of a kind": typed(b"application/vnd.x+json"),
    "a long type": typed(b"a/" + b"b" * 8000),
    "a type that is none": typed(b";;;=,"),
    "two types in one": typed(b"application/json, text/html"),
}


HEADERS = (
    {
        f"Authorization: {name}": b"Authorization: " + value + b"\r\n"
        for name, value in {
            "nothing": b"",
            "a scheme": b"Bearer",
            "a bearer": b"Bearer lk_live_" + ID,
            "a long bearer": b"Bearer " + b"x" * 8000,
            "a bearer of bytes": b"Bearer \xff\xfe\x80",
            "two bearers": b"Bearer a, Bearer b",
            "basic": b"Basic Og==",
            "basic of no base64": b"Basic !!!\xff",
            "basic of bytes": b"Basic //79",
            "digest": b'Digest username="\\", realm=, nonce="',
            "negotiate": b"Negotiate \x80",
            "L402": b"L402 AGIAJEemVQUTEyNCR0exk7ek90Cg==:" + ID,
            "L402 of nothing": b"L402 :",
            "L402 of colons": b"L402 :::::",
            "L402 of no hex": b"L402 AAAA:zz",
            "LSAT": b"LSAT \xc3\xa9:\xff",
            "no scheme": b"=====",
            "commas": b"," * 4000,
        }.items()
    }
    | {
        f"{name.decode()} {index}": name + b": " + value + b"\r\n"
        for name, values in {
            b"Accept": (
                b"*/*;q=nan",
                b"application/problem+json;q=1e999",
                b"a/b," * 1500,
                b"\xff",
                b"text/html;q=-1",
                b"/",
            ),
            b"Accept-Encoding": (b"gzip;q=\xff, br", b"identity;q=0, *;q=0"),
            b"Accept-Language": (b"-" * 3000, b"\xff"),
            b"Cookie": (b"session=\xff", b";" * 5000, b'a="\\', b"session=eyJ.eyJ.sig"),
            b"Range": (b"bytes=0-0", b"bytes=" + b"0-," * 2000, b"bytes=9-1", b"bytes=-99999999999999999999"),
            b"If-None-Match": (b"*", b'W/"', b"\xff" * 100),
            b"If-Modified-Since": (b"Mon, 99 Nov 99999 99:99:99 GMT", b"0"),
            b"If-Range": (b"x",),
            b"X-HTTP-Method-Override": (b"DELETE", b"\xff"),
            b"X-HTTP-Method": (b"PUT",),
            b"X-Method-Override": (b"TRACE",),
            b"X-Original-URL": (b"/metrics",),
            b"X-Rewrite-URL": (b"/docs",),
            b"X-Forwarded-For": (b"\xff", b"1.1.1.1, " * 500, b"::ffff:1.2.3.4%eth0", b""),
            b"X-Forwarded-Host": (b"evil/\x80",),
            b"X-Forwarded-Proto": (b"javascript",),
            b"X-Forwarded-Prefix": (b"//evil",),
            b"Forwarded": (b'for="[', b"for=_;" * 900),
            b"Idempotency-Key": (b"", b"\xff", b"k" * 256, b"'; DROP TABLE jobs; --", b'{"a": 1}', b"%00", b"a\tb"),
            b"Origin": (b"null", b"https://\xff", b"x" * 5000),
            b"Access-Control-Request-Headers": (b"a," * 3000, b"\xff", b"x: y"),
            b"Connection": (b"upgrade, close, keep-alive", b"\xff", b"content-length", b"Keep-Alive, Upgrade"),
            b"Upgrade": (b"h2c", b"websocket", b"TLS/1.0"),
            b"HTTP2-Settings": (b"AAMAAABkAAQCAAAAAAIAAAAA",),
            b"TE": (b"trailers, deflate;q=nan",),
            b"Trailer": (b"Content-Length, Authorization",),
            b"Keep-Alive": (b"timeout=-1, max=0",),
            b"Proxy": (b"http://127.0.0.1:1",),
            b"Date": (b"never",),
            b"User-Agent": (b"", b"${jndi:ldap://x}", b"\xf0\x9f\x92\xa9" * 500),
            b"Referer": (b"javascript:\x80",),
            b"traceparent": (b"00-" + b"f" * 500, b"\xff"),
            b"SCRIPT_NAME": (b"/api",),
            b"Content_Length": (b"99",),
            b"X-" + b"n" * 4000: (b"v",),
        }.items()
        for index, value in enumerate(values)
    }
    | {
        "two authorizations": b"Authorization: Bearer a\r\nAuthorization: Basic b\r\n",
        "two idempotency keys": b"Idempotency-Key: one-key\r\nIdempotency-Key: another-key\r\n",
        "ninety headers": b"".join(b"X-%d: y\r\n" % n for n in range(90)),
        "forty long headers": b"".join(b"X-%d: %s\r\n" % (n, b"y" * 7000) for n in range(40)),
    }
)


def _behind(text: bytes) -> Callable[[bytes], bytes]:
    return lambda path: path + text


def _before(text: bytes) -> Callable[[bytes], bytes]:
    return lambda path: text + path


TARGETS: dict[str, Callable[[bytes], bytes]] = {
    "absolute": _before(b"http://elsewhere.example"),
    "absolute, with credentials": _before(b"https://user:word@elsewhere.example:99999"),
    "absolute, of no known scheme": _before(b"gopher://"),
    "twice the slash": _before(b"/"),
    "many slashes": _before(b"/" * 2000),
    "slashes inside": lambda path: path.replace(b"/", b"//"),
    "dots before": _before(b"/.."),
    "dots behind": _behind(b"/../../../etc/passwd"),
    "a dot inside": lambda path: path.replace(b"/", b"/./"),
    "escaped dots": _before(b"/%2e%2e"),
    "doubly escaped dots": _behind(b"/%252e%252e%252f"),
    "escaped slashes": lambda path: b"/" + path[1:].replace(b"/", b"%2f"),
    "all escaped": lambda path: b"/" + b"".join(b"%%%02x" % byte for byte in path[1:]),
    "backslashes": lambda path: b"/" + path[1:].replace(b"/", b"%5c"),
    "a slash behind": _behind(b"/"),
    "a dot behind": _behind(b"/."),
    "a semicolon": _behind(b";jsessionid=1"),
    "NUL": _behind(b"%00"),
    "NUL inside": lambda path: path[:2] + b"%00" + path[2:],
    "not UTF-8": _behind(b"%ff%fe"),
    "a surrogate": _behind(b"%ed%a0%80"),
    "overlong": _behind(b"%c0%af"),
    "right to left": _behind(b"%e2%80%ae"),
    "a line break": _behind(b"%0d%0aX-Injected:%201"),
    "a lone percent": _behind(b"%"),
    "no hexadecimal": _behind(b"%zz%u0041"),
    "another case": lambda path: path.swapcase(),
    "very long": _behind(b"/" + b"x" * 7000),
    "very many segments": _behind(b"/x" * 3500),
    "a fragment": _behind(b"#fragment"),
    "braces": lambda path: path.replace(ID, b"{id}"),
    "an empty id": lambda path: path.replace(ID, b""),
    "a NUL for an id": lambda path: path.replace(ID, b"%00"),
    "bytes for an id": lambda path: path.replace(ID, b"%ff%00%fe"),
    "a path for an id": lambda path: path.replace(ID, b"..%2f..%2fv1%2ftrust"),
    "SQL for an id": lambda path: path.replace(ID, b"'%20OR%201=1;--%20"),
    "a long id": lambda path: path.replace(ID, b"9" * 7000),
    "a job's id": lambda path: path.replace(ID, b"job_" + b"f" * 32),
    "digits of another script": lambda path: path.replace(ID, b"%d9%a1%d9%a2"),
    "an empty query": _behind(b"?"),
    "many ampersands": _behind(b"?" + b"&" * 7000),
    "many names": _behind(b"?" + b"&".join(b"n%d" % n for n in range(1000))),
    "one name, often": _behind(b"?" + b"page=1&" * 1000),
    "nested names": _behind(b"?page[a][b][]=1&page.__class__=2"),
    "NUL in the query": _behind(b"?page=%00"),
    "bytes in the query": _behind(b"?%ff=%fe&page=%ff"),
    "a surrogate in the query": _behind(b"?status=%ed%a0%80"),
    "a number too large": _behind(b"?page=9999999999999999999999&per_page=1"),
    "a page past all": _behind(b"?page=9223372036854775807&per_page=100"),
    "endless digits": _behind(b"?page=" + b"9" * 5000),
    "no number": _behind(b"?page=1e3&per_page=NaN&status=%27&request="),
    "digits of another script in the query": _behind(b"?page=%d9%a1"),
    "another query's separator": _behind(b"?page=1;per_page=2"),
    "a query in a query": _behind(b"?a=b?c=d#e?f"),
}
STRANGE_TARGETS = (
    b"*",
    b"/",
    b"//",
    b"/?",
    b"/%",
    b"/%2f",
    b"///api/jobs",
    b"http://a",
    b"http://a?b",
    b"a://",
    b"/api/v1/forward",
    b"/v1/epochs?page=9223372036854775807&per_page=100",
    b"/v1/epochs?page=9007199254740991&per_page=100",
)

HOSTS = (
    b"",
    b" ",
    b"a b",
    b"..",
    b"a..b",
    b"[::1",
    b"a:x",
    b"a:99999999",
    b"a/b",
    b"a@b",
    b"a?b#c",
    b"a, b",
    b"\xff",
    b"xn--\xff",
    b"\xc3\xa9.example",
    b"a" * 300,
    b"a." * 2000,
    b"<script>",
)

METHODS = (
    b"BREW",
    b"TRACE",
    b"CONNECT",
    b"PROPFIND",
    b"PURGE",
    b"DEBUG",
    b"M-SEARCH",
    b"A!$%&",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"HEAD",
)
BAD_METHODS = (b"get", b"G", b"GET\t", b"GE T", b"G\x00T", b"GET\xff", b"X" * 21, b"X" * 9000, b"()", b"")
