"""Misbehaviour on request: which replies go wrong, and how."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from pydantic import Field

from scheduler_service.clock import Instant
from scheduler_service.models import Record
from scheduler_service.sandbox import edgar
from scheduler_service.sandbox.reply import Reply, Wire, html_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MEGABYTE = 1_000_000
BOMB_SIZE = 100 * MEGABYTE
HUGE_INT = b"9" * 5_000


class FaultKind(StrEnum):
    """What goes wrong. The comment names what else of the fault it reads."""

    STATUS = "status"  # status, retry_after
    THRESHOLD = "threshold"
    UNDECLARED = "undeclared"
    HTML = "html"
    EMPTY = "empty"
    NAN = "nan"
    HUGE_INT = "huge_int"
    DUPLICATE_KEYS = "duplicate_keys"
    BRACKETS = "brackets"
    TRUNCATED = "truncated"
    BODY = "body"  # body
    WRONG_COMPANY = "wrong_company"
    REDIRECT = "redirect"  # location
    GZIP_BOMB = "gzip_bomb"
    SLOW = "slow"  # seconds, before the first byte
    DRIP = "drip"  # seconds, between two bytes
    CUT = "cut"
    RESET = "reset"


class Fault(Record):
    """One misbehaviour: what, for which requests, and for how many or until when (None: until it is removed)."""

    kind: FaultKind
    provider: str | None = None
    path: str = "/"
    """A prefix of the paths it concerns."""
    count: int | None = Field(default=None, ge=1)
    until: Instant | None = None
    status: int = Field(default=500, ge=200, le=599)
    retry_after: str | None = None
    seconds: float = Field(default=1.0, ge=0)
    body: str = ""
    location: str = "http://127.0.0.2/elsewhere"

    def concerns(self, provider: str, path: str) -> bool:
        return self.provider in (None, provider) and path.startswith(self.path)


class Faults:
    """The misbehaviours in force, oldest first; the first that concerns a request strikes."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._left: list[tuple[Fault, int | None]] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        self._left += [(fault, fault.count) for fault in faults]

    def remove(self, fault: Fault) -> None:
        """Every one equal to it; none is fine too."""
        self._left = [(kept, left) for kept, left in self._left if kept != fault]

    def clear(self) -> None:
        self._left = []

    def listed(self) -> tuple[Fault, ...]:
        """What is still in force, each with the count it has left."""
        return tuple(fault.model_copy(update={"count": left}) for fault, left in self._left)

    def strike(self, provider: str, path: str, now: Instant) -> Fault | None:
        """The fault for this request, counted down; the used up and the expired are dropped."""
        self._left = [(fault, left) for fault, left in self._left if fault.until is None or now < fault.until]
        for n, (fault, left) in enumerate(self._left):
            if fault.concerns(provider, path):
                if left == 1:
                    del self._left[n]
                elif left is not None:
                    self._left[n] = (fault, left - 1)
                return fault
        return None


def misbehave(fault: Fault, reply: Reply) -> Reply:
    """The reply as the fault leaves it. ``WRONG_COMPANY`` has happened before, when the reply was made."""
    return _WAYS[fault.kind](fault, reply)


def _status(fault: Fault, reply: Reply) -> Reply:
    page = (
        edgar.unavailable()
        if fault.status == 503
        else html_reply(fault.status, f"Error {fault.status}", "Sandbox: as requested.")
    )
    headers = {} if fault.retry_after is None else {"retry-after": fault.retry_after}
    return replace(page, delay=reply.delay, headers={**page.headers, **headers})


def _page(page: Callable[[], Reply]) -> Callable[[Fault, Reply], Reply]:
    return lambda _, reply: replace(page(), delay=reply.delay)


def _body(change: Callable[[bytes], bytes]) -> Callable[[Fault, Reply], Reply]:
    """Answers 200 with the good body changed, under the good headers."""
    return lambda _, reply: replace(reply, status=200, body=change(reply.body))


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
    return Reply(302, {"location": fault.location, "content-type": "text/html"}, delay=reply.delay)


def _gzip_bomb(_: Fault, reply: Reply) -> Reply:
    return replace(reply, status=200, headers={**reply.headers, "content-encoding": "gzip"}, body=_bomb())


@cache
def _bomb() -> bytes:
    """A hundred megabytes of spaces in a hundred kilobytes of gzip."""
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(b" " * MEGABYTE) for _ in range(BOMB_SIZE // MEGABYTE)]
    return b"".join([*parts, packer.flush()])


_WAYS: dict[FaultKind, Callable[[Fault, Reply], Reply]] = {
    FaultKind.STATUS: _status,
    FaultKind.THRESHOLD: _page(edgar.threshold),
    FaultKind.UNDECLARED: _page(edgar.undeclared),
    FaultKind.HTML: _page(lambda: html_reply(200, "Before you continue", "Sandbox: a page where data should be.")),
    FaultKind.EMPTY: _body(lambda _: b""),
    FaultKind.NAN: _body(_values(b"NaN")),
    FaultKind.HUGE_INT: _body(_values(HUGE_INT)),
    FaultKind.DUPLICATE_KEYS: _body(_first_key_twice),
    FaultKind.BRACKETS: _body(lambda _: b"[" * MEGABYTE),
    FaultKind.TRUNCATED: _body(lambda body: body[: len(body) // 2]),
    FaultKind.BODY: lambda fault, reply: replace(reply, status=200, body=fault.body.encode()),
    FaultKind.WRONG_COMPANY: lambda _, reply: reply,
    FaultKind.REDIRECT: _redirect,
    FaultKind.GZIP_BOMB: _gzip_bomb,
    FaultKind.SLOW: lambda fault, reply: replace(reply, delay=reply.delay + fault.seconds),
    FaultKind.DRIP: lambda fault, reply: replace(reply, wire=Wire.DRIP, gap=fault.seconds),
    FaultKind.CUT: lambda _, reply: replace(reply, wire=Wire.CUT),
    FaultKind.RESET: lambda _, reply: replace(reply, wire=Wire.RESET),
}
