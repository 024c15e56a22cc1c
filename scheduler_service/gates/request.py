"""Pure rules around one request: when a kept answer serves, what names a request, what makes it conditional."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler_service.calls import Request, Resource, Response
    from scheduler_service.clock import Instant
    from scheduler_service.stores.call_store import KeptRow

SMALL_BODY = 16 * 1024
"""Bytes that are read faster on the loop than on the way to a thread."""


def request_hash(request: Request) -> bytes:
    """What is asked, without headers: they say who asks."""
    parts = (request.method.encode(), request.url.encode(), request.body or b"")
    return hashlib.sha256(b"\0".join(parts)).digest()


def is_good(row: KeptRow, resource: Resource, since: Instant | None, now: Instant) -> bool:
    """Whether a kept answer serves. ``since``: only one checked since then (a person forced it).

    What the asking task has paid for before a crash serves at any age. A check in the future is a wrong clock's, and
    void.
    """
    if row.request_sha256 != request_hash(resource.request):
        return False
    if row.mine:
        return True
    if row.checked_at > now:
        return False
    if since is not None:
        return row.checked_at >= since
    if resource.revision is not None:
        return row.revision == resource.revision
    return now - row.checked_at < resource.max_age


def says_the_same(row: KeptRow, request: Request, response: Response, url: str) -> bool:
    """Whether an answer is the kept one over again. ``url``: where it came from, as it is shown."""
    return (
        row.sha256 == hashlib.sha256(response.body).digest()
        and row.request_sha256 == request_hash(request)
        and row.url == url
        and row.etag == response.headers.get("etag")
        and row.last_modified == response.headers.get("last-modified")
    )


def conditional(request: Request, row: KeptRow | None) -> Request:
    """The request with the validators of the kept answer, if it has any and is of the same request."""
    if row is None or row.request_sha256 != request_hash(request):
        return request
    validators: list[tuple[str, str]] = []
    if row.etag:
        validators.append(("If-None-Match", row.etag))
    if row.last_modified:
        validators.append(("If-Modified-Since", row.last_modified))
    return replace(request, headers=(*request.headers, *validators))
