"""The sandbox behind a loopback port: real HTTP (with a certificate: real TLS), real resets, cuts, drips and silence.

For whoever runs the service in another process, under the same port and without a key:

- ``GET /_sandbox/requests``: every request so far, oldest first, as ``upstream.Seen`` in JSON; ``DELETE`` forgets them.
- ``GET /_sandbox/faults``: the faults in force, each with the count it has left; ``DELETE`` ends them all.
- ``POST /_sandbox/faults``: one fault or a list, with the fields of ``faults.Fault`` and the kinds of ``FaultKind``,
  ``WrongData``, ``HostileBody`` and ``ModelFault``: ``{"kind": "error", "status": 429, "retry_after": "30",
  "provider": "perplexity", "count": 2}``, ``{"kind": "older", "path": "/submissions/", "days": 90}``,
  ``{"kind": "prose"}``. The first that concerns a request strikes it. One that is not understood is answered with 400
  and an ``error`` that says why.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import struct
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from scheduler_service.calls import Request
from scheduler_service.sandbox.faults import Fault
from scheduler_service.sandbox.reply import Reply, Wire

if TYPE_CHECKING:
    from scheduler_service.clock import Clock
    from scheduler_service.sandbox.upstream import SandboxUpstream

HOST = "127.0.0.1"
SMALLEST_COMPRESSED = 1_000
SECONDS_TO_STOP = 0.1

_FAULTS: TypeAdapter[Fault | list[Fault]] = TypeAdapter(Fault | list[Fault])
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class SandboxServer:
    """Serves an upstream on 127.0.0.1; port 0 is any free one. With ``tls``, by https alone."""

    def __init__(
        self, upstream: SandboxUpstream, clock: Clock, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._port = port
        self._tls = tls
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listens; returns the base URL, without a slash at the end. Raises ``OSError`` when the port is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/_sandbox/requests", self._list_requests),
                web.delete("/_sandbox/requests", self._forget_requests),
                web.get("/_sandbox/faults", self._list_faults),
                web.post("/_sandbox/faults", self._add_faults),
                web.delete("/_sandbox/faults", self._clear_faults),
                web.route("*", "/{path:.*}", self._answer),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SECONDS_TO_STOP, handler_cancellation=True)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, self._port, ssl_context=self._tls).start()
        except OSError:
            await self.stop()
            raise
        return f"{'https' if self._tls else 'http'}://{HOST}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Closes the port and every connection; replies under way are broken off. Harmless when not started."""
        runner, self._runner = self._runner, None
        if runner:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        reply = self._upstream.answer(
            Request(str(request.url), request.method, tuple(request.headers.items()), body or None)
        )
        if reply.delay:
            await self._clock.sleep(reply.delay)
        match reply.wire:
            case Wire.WHOLE:
                return _whole(request, reply)
            case Wire.RESET:
                return _reset(request)
            case Wire.NOT_HTTP:
                return _not_http(request)
            case Wire.SILENT:
                return await _silent()
            case Wire.ENDLESS:
                return await _endless(request, reply)
            case Wire.CUT | Wire.DRIP:
                return await self._broken(request, reply)

    async def _broken(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        """A body that arrives byte by byte, or in half."""
        response = web.StreamResponse(status=reply.status, headers=dict(reply.headers))
        response.content_length = len(reply.body)
        await response.prepare(request)
        if reply.wire is Wire.CUT:
            await response.write(reply.body[: len(reply.body) // 2])
            if request.transport:
                request.transport.close()
            return response
        for at in range(len(reply.body)):
            await self._clock.sleep(reply.gap)
            await response.write(reply.body[at : at + 1])
        return response

    async def _list_requests(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(seen) for seen in self._upstream.seen])

    async def _forget_requests(self, _: web.Request) -> web.Response:
        self._upstream.seen.clear()
        return web.Response(status=204)

    async def _list_faults(self, _: web.Request) -> web.Response:
        return web.json_response(_listed(self._upstream))

    async def _add_faults(self, request: web.Request) -> web.Response:
        try:
            added = _FAULTS.validate_json(await request.read())
        except ValidationError as error:
            return web.json_response({"error": str(error)}, status=400)
        self._upstream.faults.add(*(added if isinstance(added, list) else [added]))
        return web.json_response(_listed(self._upstream))

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self._upstream.faults.clear()
        return web.Response(status=204)


def _listed(upstream: SandboxUpstream) -> list[dict[str, Any]]:
    return [fault.model_dump(mode="json") for fault in upstream.faults.listed()]


def _whole(request: web.Request, reply: Reply) -> web.Response:
    """Compressed where the caller takes it, as the real ones do."""
    headers, body = dict(reply.headers), reply.body
    takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
    if takes_gzip and len(body) >= SMALLEST_COMPRESSED and "content-encoding" not in headers:
        headers["content-encoding"] = "gzip"
        body = gzip.compress(body, compresslevel=1, mtime=0)
    return web.Response(status=reply.status, headers=headers, body=body)


def _reset(request: web.Request) -> web.Response:
    """Closing with a linger of zero sends RST instead of FIN."""
    if request.transport:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        request.transport.abort()
    return web.Response()


def _not_http(request: web.Request) -> web.Response:
    if request.transport:
        request.transport.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        request.transport.close()
    return web.Response()


async def _silent() -> web.Response:
    """Until the caller hangs up or the server stops: both cancel it."""
    await asyncio.Event().wait()
    return web.Response()


async def _endless(request: web.Request, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=dict(reply.headers))
    response.enable_chunked_encoding()
    await response.prepare(request)
    while True:  # until nobody listens any more
        await response.write(reply.body)
