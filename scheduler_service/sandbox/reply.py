"""What the sandbox puts on the wire, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


class Wire(StrEnum):
    """What becomes of a reply on its way."""

    WHOLE = "whole"
    RESET = "reset"
    """The connection is reset before the first byte."""
    CUT = "cut"
    """The connection closes in the middle of the body."""
    DRIP = "drip"
    """One byte, then ``gap`` seconds, then the next."""
    ENDLESS = "endless"
    """The body again and again, for as long as anybody listens."""
    SILENT = "silent"
    """The connection is accepted, and nothing ever comes."""
    NOT_HTTP = "not_http"
    """Bytes that are no HTTP, then the end."""


@dataclass(frozen=True, slots=True)
class Reply:
    """``body`` is as sent, still compressed where a header says so; ``delay`` and ``gap`` are in seconds."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    wire: Wire = Wire.WHOLE
    gap: float = 0.0


def json_reply(body: bytes) -> Reply:
    """As data.sec.gov sends it: neither ETag nor Last-Modified."""
    return Reply(200, {"content-type": "application/json", "cache-control": "max-age=0, no-cache, no-store"}, body)


def xml_reply(status: int, body: bytes) -> Reply:
    return Reply(status, {"content-type": "application/xml"}, body)


def html_reply(status: int, title: str, text: str) -> Reply:
    head = f'<!DOCTYPE html>\n<html lang="en"><head><title>{title}</title></head>'
    page = f"{head}<body><h1>{title}</h1><p>{text}</p></body></html>\n"
    return page_reply(page.encode(), status)


def page_reply(body: bytes, status: int = 200) -> Reply:
    return Reply(status, {"content-type": "text/html; charset=utf-8"}, body)


def error_reply(status: int, kind: str, message: str, param: str | None = None) -> Reply:
    """An error in JSON, as Perplexity words it and many others do."""
    said = {"message": message, "type": kind, "code": status} | ({} if param is None else {"param": param})
    return Reply(status, {"content-type": "application/json"}, orjson.dumps({"error": said}))
