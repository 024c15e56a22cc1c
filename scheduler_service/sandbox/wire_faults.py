"""What can go wrong with any upstream: statuses, bodies, redirects, connections."""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from scheduler_service.sandbox import edgar
from scheduler_service.sandbox.faults import Fault, FaultKind
from scheduler_service.sandbox.reply import Reply, Wire, error_reply, html_reply

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTE = 1_000_000
BOMB_SIZE = 100 * MEGABYTE
HUGE_INT = b"9" * 5_000
NOISE_BLOCKS = 64


def misbehave(kind: FaultKind, fault: Fault, reply: Reply) -> Reply:
    """The reply as the fault leaves it. ``WRONG_COMPANY`` has happened before, when the reply was made."""
    return _WAYS[kind](fault, reply)


def _status(fault: Fault, reply: Reply) -> Reply:
    page = (
        edgar.unavailable()
        if fault.status == 503
        else html_reply(fault.status, f"Error {fault.status}", "Sandbox: as requested.")
    )
    return _in_place_of(reply, page, fault)


def _error(fault: Fault, reply: Reply) -> Reply:
    kind = (
        "request_rate_limit_exceeded" if fault.status == 429 else "internal_error" if fault.status >= 500 else "error"
    )
    return _in_place_of(reply, error_reply(fault.status, kind, fault.body or "Sandbox: as requested."), fault)


def _out_of_credit(fault: Fault, reply: Reply) -> Reply:
    """So documented: the status of a wrong key, not 402."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return _in_place_of(reply, error_reply(401, "insufficient_quota", message), fault)


def _in_place_of(reply: Reply, other: Reply, fault: Fault) -> Reply:
    headers = {} if fault.retry_after is None else {"retry-after": fault.retry_after}
    return replace(other, delay=reply.delay, headers={**other.headers, **headers})


def _page(page: Callable[[], Reply]) -> Callable[[Fault, Reply], Reply]:
    return lambda _, reply: replace(page(), delay=reply.delay)


def _body(change: Callable[[bytes], bytes]) -> Callable[[Fault, Reply], Reply]:
    """Answers 200 with the good body changed, under the good headers."""
    return lambda _, reply: replace(reply, status=200, body=change(reply.body))


def _wire(wire: Wire) -> Callable[[Fault, Reply], Reply]:
    return lambda _, reply: replace(reply, wire=wire)


def _values(token: bytes) -> Callable[[bytes], bytes]:
    """Every reported value replaced, or one such value where there is none."""

    def change(body: bytes) -> bytes:
        changed, count = re.subn(rb'("(?:val|cik_str)":)-?[\d.]+', rb"\g<1>" + token, body)
        return changed if count else b'{"value":' + token + b"}"

    return change


def _first_key_twice(body: bytes) -> bytes:
    key = re.match(rb'\{("[^"]*":)', body)
    return b"{" + key[1] + b"null," + body[1:] if key else b'{"a":1,"a":2}'


def _redirect(fault: Fault, reply: Reply) -> Reply:
    status = fault.status if 300 <= fault.status < 400 else 302
    return Reply(status, {"location": fault.location, "content-type": "text/html"}, delay=reply.delay)


def _redirect_loop(_: Fault, reply: Reply) -> Reply:
    return Reply(302, {"location": "?again", "content-type": "text/html"}, delay=reply.delay)


def _gzip_bomb(_: Fault, reply: Reply) -> Reply:
    return replace(reply, status=200, headers={**reply.headers, "content-encoding": "gzip"}, body=_bomb())


@cache
def _bomb() -> bytes:
    """A hundred megabytes of spaces in a hundred kilobytes of gzip."""
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(b" " * MEGABYTE) for _ in range(BOMB_SIZE // MEGABYTE)]
    return b"".join([*parts, packer.flush()])


@cache
def _noise() -> bytes:
    """Two kilobytes of anything, always the same."""
    return b"".join(hashlib.sha256(bytes([n])).digest() for n in range(NOISE_BLOCKS))


_WAYS: dict[FaultKind, Callable[[Fault, Reply], Reply]] = {
    FaultKind.STATUS: _status,
    FaultKind.ERROR: _error,
    FaultKind.OUT_OF_CREDIT: _out_of_credit,
    FaultKind.THRESHOLD: _page(edgar.threshold),
    FaultKind.UNDECLARED: _page(edgar.undeclared),
    FaultKind.HTML: _page(lambda: html_reply(200, "Before you continue", "Sandbox: a page where data should be.")),
    FaultKind.EMPTY: _body(lambda _: b""),
    FaultKind.NAN: _body(_values(b"NaN")),
    FaultKind.HUGE_INT: _body(_values(HUGE_INT)),
    FaultKind.DUPLICATE_KEYS: _body(_first_key_twice),
    FaultKind.BRACKETS: _body(lambda _: b"[" * MEGABYTE),
    FaultKind.NOISE: _body(lambda _: _noise()),
    FaultKind.TRUNCATED: _body(lambda body: body[: len(body) // 2]),
    FaultKind.BODY: lambda fault, reply: replace(reply, status=200, body=fault.body.encode()),
    FaultKind.WRONG_COMPANY: lambda _, reply: reply,
    FaultKind.REDIRECT: _redirect,
    FaultKind.REDIRECT_LOOP: _redirect_loop,
    FaultKind.GZIP_BOMB: _gzip_bomb,
    FaultKind.ENDLESS: lambda _, reply: replace(reply, status=200, body=b" " * MEGABYTE, wire=Wire.ENDLESS),
    FaultKind.SLOW: lambda fault, reply: replace(reply, delay=reply.delay + fault.seconds),
    FaultKind.DRIP: lambda fault, reply: replace(reply, wire=Wire.DRIP, gap=fault.seconds),
    FaultKind.BLACKHOLE: _wire(Wire.SILENT),
    FaultKind.CUT: _wire(Wire.CUT),
    FaultKind.RESET: _wire(Wire.RESET),
    FaultKind.NOT_HTTP: _wire(Wire.NOT_HTTP),
}
