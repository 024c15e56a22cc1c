"""How much of what fetching and parsing alone could do the whole path keeps: ledger, gates, one commit, documents.

``make bench`` runs it. Figures of one run are comparable with each other, not with those of another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler_service.calls import Limits, Request, Response
from scheduler_service.cli.configuration import read
from scheduler_service.clock import SystemClock, from_iso
from scheduler_service.engine import Engine
from scheduler_service.initialisation import OwnedTasks
from scheduler_service.parsers.feed import parse_feed
from scheduler_service.settings.load import Found
from scheduler_service.simulation import Plan, simulate
from scheduler_service.stores import task_store

if TYPE_CHECKING:
    from scheduler_service.models import Event
    from scheduler_service.settings.loaded import Settings

CONFIGURATION = """\
service: {{data_dir: ./data}}
providers:
  feeds: {{urls: ["http://127.0.0.1:1/{{symbol}}.rss"], requests_per_minute: null, concurrency: 32}}
watchlist: [{symbols}]
domains: {{news: {{sources: [{{use: feeds, fresh_for: 20m}}]}}}}
schedules: [{{id: news, domain: news, trigger: {{every: 30m}}}}]
"""
ITEM = (
    "<item><title>{symbol} headline {n}</title><link>https://news.invalid/{symbol}/{n}</link><guid>{symbol}-{n}</guid>"
    "<pubDate>Mon, 23 Nov 2026 12:00:0{n} +0000</pubDate><description>{n} words on {symbol}</description></item>"
)


def feed(url: str) -> bytes:
    """A feed of eight items, 1.5 KB."""
    symbol = url.rsplit("/", 1)[1].removesuffix(".rss")
    items = "".join(ITEM.format(symbol=symbol, n=n) for n in range(8))
    return f"<rss version='2.0'><channel><title>{symbol}</title>{items}</channel></rss>".encode()


class Instantly:
    """A transport without a network."""

    async def send(self, request: Request, limits: Limits) -> Response:
        del limits
        return Response(200, {"content-type": "application/rss+xml"}, feed(request.url), request.url)

    async def close(self) -> None:
        return None


async def ceiling(symbols: list[str]) -> float:
    """Tasks a second with fetch and parse alone."""
    transport, started = Instantly(), time.perf_counter()
    for symbol in symbols:
        response = await transport.send(Request(f"http://127.0.0.1:1/{symbol}.rss"), Limits())
        parse_feed(response.body)
    return len(symbols) / (time.perf_counter() - started)


async def whole_path(settings: Settings) -> tuple[float, float, float]:
    """Tasks a second to the last commit, commits per task, and the loop's longest pause in milliseconds."""

    def tell(event: Event) -> None:
        if event.level not in ("DEBUG", "INFO"):
            print(event.message)

    engine = Engine(settings, SystemClock(), tell, Instantly())
    owned = OwnedTasks(print)
    engine.directory.take()
    await engine.open_ledger()
    owned.start("ledger writer", engine.ledger.write_forever())
    await engine.open_gates()
    await engine.recover()
    await engine.dispatcher.sync()
    first = await engine.dispatcher.fetch_never_fetched()
    tasks = first.total()
    engine.build_executors()
    before, started, pause = engine.ledger.commits, time.perf_counter(), 0.0
    for executor in engine.executors:
        for lane in executor.lanes:
            owned.start(lane, executor.work_forever(lane))
    owned.start("publisher", engine.publisher.publish_forever())
    looked = 0
    while True:
        slept = time.perf_counter()
        await asyncio.sleep(0.01)
        pause = max(pause, time.perf_counter() - slept - 0.01)
        looked += 1
        if looked % 20 == 0 and not await engine.ledger.read(task_store.state_counts):
            break
    took, commits = time.perf_counter() - started, engine.ledger.commits - before
    owned.stopping()
    for executor in engine.executors:
        await executor.drain(1)
    engine.publisher.stop()
    await owned.join("publisher")
    engine.ledger.stop_writing()
    await owned.join("ledger writer")
    await owned.cancel()
    await engine.close()
    return tasks / took, commits / tasks, pause * 1000


def simulation(settings: Settings) -> float:
    """Tasks a second of a simulated day with a slot every half an hour."""
    started = time.perf_counter()
    shown = simulate(settings, Plan(from_iso("2026-11-23T00:00:00Z"), 1))
    tasks = sum(count.count for schedule in shown.schedules for count in schedule.tasks)
    return tasks / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=500)
    symbols = [f"S{n}" for n in range(parser.parse_args().symbols)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scheduler.yaml"
        path.write_text(CONFIGURATION.format(symbols=", ".join(symbols)))
        settings = read(Found((path,), ""))
        alone = asyncio.run(ceiling(symbols))
        rate, commits, pause = asyncio.run(whole_path(settings))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scheduler.yaml"
        path.write_text(CONFIGURATION.format(symbols=", ".join(symbols[:20])))
        simulated = simulation(read(Found((path,), "")))
    print(f"fetch and parse alone   {alone:8.0f} tasks/s")
    print(f"the whole path          {rate:8.0f} tasks/s   {rate / alone:.2f} of it")
    print(f"commits per task        {commits:8.3f}")
    print(f"longest loop pause      {pause:8.0f} ms")
    print(f"simulated               {simulated:8.0f} tasks/s   {simulated / rate:.2f} of the whole path")


if __name__ == "__main__":
    main()
