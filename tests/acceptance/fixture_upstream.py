"""EDGAR and a feed on a loopback port, answering with recordings; it remembers what it was asked."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RECORDINGS = (Path(__file__).resolve().parents[2] / "../shared/fixtures").resolve()
FEEDS = {"AAPL": "nasdaq-20260911-excerpt.xml", "NVDA": "google-news-en-20260925-excerpt.xml"}


class Asked(NamedTuple):
    path: str
    user_agent: str


class FixtureUpstream:
    """Serves ``base``; ``asked`` lists every request."""

    def __init__(self) -> None:
        self.base = ""
        self.asked: list[Asked] = []

    def count(self, text: str) -> int:
        """How many requests had this in their path."""
        return sum(text in asked.path for asked in self.asked)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(Asked(request.path, request.headers.get("User-Agent", "")))
        match request.path.strip("/").split("/"):
            case ["files", "company_tickers.json"]:
                return _json("edgar/company_tickers.json")
            case ["submissions", name]:
                return _json(f"edgar/submissions/{name}")
            case ["api", "xbrl", "companyfacts", name]:
                return _json(f"edgar/companyfacts/{name}")
            case ["feeds", name] if name in FEEDS:
                body = (RECORDINGS / "rss" / FEEDS[name]).read_bytes()
                return web.Response(body=body, headers={"Content-Type": "application/rss+xml; charset=utf-8"})
            case _:
                return _no_such_key()


@asynccontextmanager
async def fixture_upstream() -> AsyncIterator[FixtureUpstream]:
    """A server for the recordings, on any free port."""
    upstream = FixtureUpstream()
    app = web.Application()
    app.router.add_get("/{path:.*}", upstream.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield upstream
    finally:
        await runner.cleanup()


def _json(name: str) -> web.Response:
    """As it was recorded: compressed, without ETag or Last-Modified."""
    path = RECORDINGS / f"{name}.gz"
    if not path.is_file():
        return _no_such_key()
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    return web.Response(body=path.read_bytes(), headers=headers)


def _no_such_key() -> web.Response:
    body = (RECORDINGS / "edgar/errors/404-CIK-000000001.json.body").read_bytes()
    return web.Response(status=404, body=body, headers={"Content-Type": "application/xml"})
