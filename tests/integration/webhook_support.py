"""A webhook on this machine that answers as a test wants it to."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Hook:
    """A webhook. ``answers``: statuses to give, then 200; ``taken``: what it was sent, with its headers."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.always: int | str = 200
        self.answers: list[int | str] = []
        self.headers: dict[str, str] = {}
        self.address = ""
        self.hangs: asyncio.Event | None = None
        self.taken: list[tuple[str, dict[str, Any]]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.paths.append(request.match_info["path"])
        self.taken.append((request.headers.get("Idempotency-Key", ""), json.loads(await request.text())))
        answer = self.answers.pop(0) if self.answers else self.always
        if self.hangs is not None:
            await self.hangs.wait()
        if answer == "drop":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return web.Response(status=int(answer), headers=self.headers)

    @property
    def keys(self) -> list[str]:
        return [key for key, _ in self.taken]


@asynccontextmanager
async def serving(hook: Hook) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/{path:.*}", hook.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()
