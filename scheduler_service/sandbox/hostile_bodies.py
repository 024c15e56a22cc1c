"""Answers made to harm who reads them, each in the format of the answer it takes the place of: JSON or a feed."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from scheduler_service.sandbox.faults import HostileBody

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler_service.sandbox.reply import Reply

DEPTH = 30_000
KEYS = 25_000
SIZE = 450_000
"""Bytes, about: less than any provider's limit."""
BOMB_SIZE = 100_000_000
MANY_HEADERS = {f"x-{n}": "1" for n in range(1_000)}
LONG_HEADER = {"x-long": "x" * 100_000}


_FEED = b'<rss version="2.0"><channel><title>t</title>%s</channel></rss>'
_STORY = b"<item><title>%s</title><link>https://news.invalid/1</link></item>"
_LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))


def misbehave(kind: HostileBody, reply: Reply) -> Reply:
    """The reply as the fault leaves it."""
    is_feed = reply.body.lstrip()[:5] in (b"<?xml", b"<rss ")
    return _WAYS[kind](replace(reply, status=200), is_feed)


def _body(json: Callable[[bytes], bytes], feed: Callable[[bytes], bytes]) -> Callable[[Reply, bool], Reply]:
    return lambda reply, is_feed: replace(reply, body=(feed if is_feed else json)(reply.body))


def _both(change: Callable[[bytes], bytes]) -> Callable[[Reply, bool], Reply]:
    return _body(change, change)


def _headers(headers: dict[str, str]) -> Callable[[Reply, bool], Reply]:
    return lambda reply, _: replace(reply, headers={**reply.headers, **headers})


def _in_utf16(body: bytes) -> bytes:
    return re.sub(r'encoding="[^"]*"', 'encoding="utf-16"', body.decode(), count=1).encode("utf-16")


def _with_value(value: bytes) -> Callable[[bytes], bytes]:
    """Before all others, under a key of its own."""
    return lambda body: b'{"hostile":' + value + b"," + body.removeprefix(b"{")


def _declaring(entities: bytes, name: bytes = b"l9") -> Callable[[bytes], bytes]:
    """A feed whose story is called what an entity holds."""
    return lambda _: (
        b'<?xml version="1.0"?><!DOCTYPE rss [' + entities + b"]>" + _FEED % (_STORY % (b"&" + name + b";"))
    )


def _hidden(_: bytes) -> bytes:
    """Its declaration of entities, in UTF-7, is none to who looks for the bytes of one."""
    hidden = '<!DOCTYPE rss [<!ENTITY l9 "' + "ha" * 1_000 + '">]>'
    return b'<?xml version="1.0" encoding="utf-7"?>' + _in_utf7(hidden) + _FEED % (_STORY % b"&l9;")


def _in_utf7(text: str) -> bytes:
    return text.encode("utf-7").replace(b"<", b"+ADw-").replace(b"!", b"+ACE-")


@cache
def _deflate_bomb() -> bytes:
    packer = zlib.compressobj()
    return b"".join([packer.compress(b" " * 1_000_000) for _ in range(BOMB_SIZE // 1_000_000)] + [packer.flush()])


_WAYS: dict[HostileBody, Callable[[Reply, bool], Reply]] = {
    HostileBody.DEEP: _body(
        _with_value(b'{"a":[' * DEPTH + b"]}" * DEPTH), lambda _: _FEED % (b"<a>" * DEPTH + b"</a>" * DEPTH)
    ),
    HostileBody.INFINITE: _body(_with_value(b"1e999"), lambda body: body.replace(b"</title>", b"&#1e999;</title>", 1)),
    HostileBody.HALF_CHARACTER: _body(
        _with_value(rb'"\ud800"'), lambda body: body.replace(b"</title>", b"&#xD800;</title>", 1)
    ),
    HostileBody.UTF16: _both(_in_utf16),
    HostileBody.MARKED: _both(lambda body: b"\xef\xbb\xbf" + body),
    HostileBody.WRONG_CHARSET: _headers({"content-type": "application/octet-stream; charset=utf-32"}),
    HostileBody.MANY_VALUES: _body(
        _with_value(b"[" + b"[]," * (SIZE // 3) + b"0]"), lambda _: _FEED % (b"<item/>" * (SIZE // 7))
    ),
    HostileBody.BLANKS: _body(
        lambda body: body[:1] + b" " * SIZE + body[1:], lambda _: _FEED % (b"<item " + b" " * SIZE + b"/>")
    ),
    HostileBody.ATTRIBUTES: _body(
        _with_value(b"{" + b",".join(b'"a%d":0' % n for n in range(KEYS)) + b"}"),
        lambda _: _FEED % (b"<item " + b" ".join(b'a%d=">"' % n for n in range(KEYS)) + b"/>"),
    ),
    HostileBody.ENTITIES: _both(_declaring(b'<!ENTITY l0 "ha">' + _LAUGHS)),
    HostileBody.FILES: _both(_declaring(b'<!ENTITY l9 SYSTEM "file:///etc/passwd">')),
    HostileBody.HIDDEN_ENTITIES: _both(_hidden),
    HostileBody.UNCLOSED: _body(
        lambda body: body.rstrip().removesuffix(b"}"), lambda body: body[: body.rindex(b"</item>")]
    ),
    HostileBody.DEFLATE_BOMB: lambda reply, _: replace(
        reply, body=_deflate_bomb(), headers={**reply.headers, "content-encoding": "deflate"}
    ),
    HostileBody.BROTLI: _headers({"content-encoding": "br"}),
    HostileBody.MANY_HEADERS: _headers(MANY_HEADERS),
    HostileBody.LONG_HEADER: _headers(LONG_HEADER),
}
