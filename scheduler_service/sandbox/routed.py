"""The sandbox behind its socket under a lasting name: what is stored must not name a port that is gone tomorrow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scheduler_service.sandbox.memory import BASE

if TYPE_CHECKING:
    from scheduler_service.calls import Limits, Request, Response, Transport


class RoutedTransport:
    """Sends what is under ``memory.BASE`` to where the sandbox server stands, everything else as it is."""

    def __init__(self, transport: Transport, server: str) -> None:
        self._transport = transport
        self._server = server

    async def send(self, request: Request, limits: Limits) -> Response:
        if not request.url.startswith(f"{BASE}/"):
            return await self._transport.send(request, limits)
        there = self._server + request.url.removeprefix(BASE)
        response = await self._transport.send(replace(request, url=there), limits)
        return replace(response, url=BASE + response.url.removeprefix(self._server))

    async def close(self) -> None:
        await self._transport.close()
