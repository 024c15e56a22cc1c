"""A planted secret is found nowhere that the service writes: after success, refusal, a timeout and a kill."""

from __future__ import annotations

import asyncio
import base64
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.acceptance.commands import free_port, running, said, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "SEKRIT_7f+3a/b1=c9&0d"
ITEM = "<item><title>One {symbol}</title><link>https://news.invalid/{symbol}</link></item>"

CONFIGURATION = """\
service: {{data_dir: data}}
logging: {{level: DEBUG, format: {format}, file: {{path: service.log}}}}
http: {{port: {port}, token_file: token}}
providers: {{feeds: {{urls: ["{base}/{{symbol}}.rss?key={secret}"], requests_per_minute: 600, timeout: 1s}}}}
watchlist: [FINE, REFUSED, SLOW]
domains: {{news: {{sources: [{{use: feeds, fresh_for: 1m}}]}}}}
schedules: [{{id: news, domain: news, trigger: {{every: 1h}}}}]
monitors: {{health: {{ping_url: "https://ping.invalid/{secret}"}}}}
alerts: {{urls: ["https://hook.invalid/{secret}", "json://127.0.0.1:9/{secret}"]}}
"""


def forms(secret: str) -> set[bytes]:
    """The secret as it is, and as URLs, JSON and base64 would carry it."""
    raw = secret.encode()
    return {raw, quote(secret, safe="").encode(), base64.b64encode(raw), base64.urlsafe_b64encode(raw), raw[:14]}


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        assert request.query["key"] == SECRET
        symbol = request.path.strip("/").removesuffix(".rss")
        if symbol == "REFUSED":
            return web.Response(status=401, text="no")
        if symbol == "SLOW":
            await asyncio.sleep(5)
        body = f"<rss version='2.0'><channel><title>t</title>{ITEM.format(symbol=symbol)}</channel></rss>"
        return web.Response(text=body, content_type="application/rss+xml")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_a_secret_appears_in_nothing_that_is_written(tmp_path: Path, log_format: str) -> None:
    (tmp_path / "token").write_text(SECRET)
    written: list[str] = []
    async with upstream() as base:
        config = tmp_path / "scheduler.yaml"
        config.write_text(
            CONFIGURATION.format(base=base, port=free_port(), secret=quote(SECRET, safe=""), format=log_format)
        )
        async with running(tmp_path, "-c", str(config)) as service:
            await until(lambda: "SLOW news from feeds: failed" in service.log, "the timeout")
            assert "FINE news from feeds: updated" in service.log
            assert "REFUSED news from feeds: failed" in service.log
            for command in (["status"], ["status", "--json"], ["history", "--json"], ["check"], ["show", "FINE"]):
                told = await said(tmp_path, "-c", str(config), *command)
                written += [told.out, told.err]
            service.send(signal.SIGKILL)
            await service.ended()
            written.append(service.log)
        async with running(tmp_path, "-c", str(config)) as service:
            await service.until_it_says("ready after")
            service.send(signal.SIGTERM)
            assert await service.ended() == 0
            written.append(service.log)

    assert "".join(written).count("news from feeds") >= 3
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("scheduler.yaml", "token")]
    assert {"ledger.sqlite", "service.log"} <= {path.name for path in files}
    for form in forms(SECRET):
        assert [text for text in written if form in text.encode()] == []
        assert [str(path) for path in files if form in path.read_bytes()] == []
