"""The sandbox without a socket: a ``Transport`` that fails in the words of the real one."""

from __future__ import annotations

import zlib
from math import inf
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from scheduler_service.calls import LONGEST_HEADER, MOST_HEADERS, USER_AGENT, Request, Response
from scheduler_service.clients.base import shown
from scheduler_service.errors import PermanentClientError, TransientClientError
from scheduler_service.models import Reason
from scheduler_service.sandbox.reply import Reply, Wire

if TYPE_CHECKING:
    from scheduler_service.calls import Limits
    from scheduler_service.clock import Clock
    from scheduler_service.sandbox.upstream import SandboxUpstream

BASE = "https://sandbox.invalid"
"""Where the sandbox stands when it has no address; see ``upstream.urls``."""
_INFLATED = {"": 0, "gzip": 31, "deflate": 15}
"""The ``wbits`` of zlib by ``Content-Encoding``."""


class MemoryTransport:
    """Hands requests under ``BASE`` to the upstream; nothing else can be reached. Waits are slept on the clock."""

    def __init__(self, upstream: SandboxUpstream, clock: Clock) -> None:
        self._upstream = upstream
        self._clock = clock

    async def send(self, request: Request, limits: Limits) -> Response:
        left = limits.timeout
        visited = [request.url]
        while True:
            reply = self._ask(request)
            takes = inf if reply.wire is Wire.SILENT else reply.delay + reply.gap * len(reply.body)
            if takes:
                await self._clock.sleep(min(takes, left))
            if takes > left:
                message = f"{shown(visited[0])} did not answer within {limits.timeout:g} s"
                raise TransientClientError(message, Reason.TIMEOUT)
            left -= takes
            response = _received(request.url, reply, limits.max_bytes)
            location = response.headers.get("location")
            if not limits.redirects or not 300 <= response.status < 400 or location is None:
                return response
            request = Request(urljoin(request.url, location), request.method, request.headers)
            followed = _stands_here(request.url) and request.method in ("GET", "HEAD")
            if not followed or request.url in visited or len(visited) > limits.redirects:
                message = f"the redirect of {shown(visited[0])} leads to where it is not followed"
                raise PermanentClientError(message, Reason.REDIRECTED)
            visited.append(request.url)

    async def close(self) -> None:
        """There are no sockets to give back."""

    def _ask(self, request: Request) -> Reply:
        if not _stands_here(request.url):
            raise TransientClientError(
                f"{shown(request.url)}: cannot connect (the sandbox is all there is)", Reason.PROVIDER_DOWN
            )
        given = {name.lower() for name, _ in request.headers}
        headers = request.headers if "user-agent" in given else (*request.headers, ("User-Agent", USER_AGENT))
        return self._upstream.answer(Request(request.url, request.method, headers, request.body))


def _stands_here(url: str) -> bool:
    return url.startswith(f"{BASE}/")


def _received(url: str, reply: Reply, most: int) -> Response:
    """What a client makes of the reply: the decoded body within its limit, or the error of a broken connection."""
    if reply.wire is Wire.RESET:
        raise TransientClientError(f"{shown(url)}: connection lost (reset)", Reason.PROVIDER_DOWN)
    if reply.wire in (Wire.CUT, Wire.NOT_HTTP):
        raise TransientClientError(f"{shown(url)}: the answer is cut off or is not HTTP", Reason.PROVIDER_DOWN)
    if len(reply.headers) > MOST_HEADERS or any(len(value) > LONGEST_HEADER for value in reply.headers.values()):
        raise TransientClientError(f"{shown(url)}: the answer has no headers of usual size", Reason.PROVIDER_DOWN)
    body, encoding = reply.body, reply.headers.get("content-encoding", "")
    if encoding not in _INFLATED:
        message = f"{shown(url)} is compressed in a way that was not asked for ({encoding!r})"
        raise PermanentClientError(message, Reason.UNREADABLE, status=reply.status)
    if encoding:
        body = zlib.decompressobj(_INFLATED[encoding]).decompress(body, most + 1)
    if len(body) > most or reply.wire is Wire.ENDLESS:
        raise PermanentClientError(f"{shown(url)} sent more than {most} bytes", Reason.TOO_LARGE, status=reply.status)
    return Response(reply.status, dict(reply.headers), body, url)
