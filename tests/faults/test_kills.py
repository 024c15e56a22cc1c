"""Fifty kills at random moments: every document whole, every task ended once, no kept answer asked again."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import SystemClock
from scheduler_service.sandbox.server import SandboxServer
from scheduler_service.sandbox.upstream import SandboxUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator

KILLS = 50
SYMBOLS = ("AAPL", "NVDA", "SNOW", "ACMEX", "GLOBX", "INITX", "UMBRX", "HOOLX")
DOMAINS = ("news", "earnings", "fundamentals")
PATIENCE = 60.0
STARTS, READY = " starts. ", " ready after "

CONFIGURATION = """\
service: {{data_dir: data}}
http: {{port: 0}}
providers:
  edgar: {{base_url: "{base}", www_base_url: "{base}", user_agent: "Test test@example.com", requests_per_second: 1.5}}
  feeds: {{urls: ["{base}/feeds/{{symbol}}.rss"], requests_per_minute: 60}}
watchlist: [{symbols}]
domains:
  news: {{sources: [{{use: feeds, fresh_for: 1d}}, {{use: edgar_filings, fresh_for: 1d}}]}}
  earnings: {{sources: [{{use: edgar, fresh_for: 1d}}]}}
  fundamentals: {{sources: [{{use: edgar, fresh_for: 1d}}]}}
schedules:
  - {{id: news, domain: news, trigger: {{every: 1d}}}}
  - {{id: earnings, domain: earnings, trigger: {{every: 1d}}}}
  - {{id: fundamentals, domain: fundamentals, trigger: {{every: 1d}}}}
"""


@contextmanager
def upstream() -> Iterator[tuple[str, SandboxUpstream]]:
    """The sandbox in a thread of its own: it must outlive the service."""
    served = SandboxUpstream(SystemClock(), latency=0.05)
    server, started, loop = SandboxServer(served, SystemClock()), threading.Event(), asyncio.new_event_loop()
    bases: list[str] = []

    async def start() -> None:
        bases.append(await server.start())
        started.set()

    def serve() -> None:
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(server.stop())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert started.wait(10)
        yield bases[0], served
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def start(folder: Path) -> subprocess.Popen[bytes]:
    log = (folder / "log").open("ab")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCHEDULER_")}
    command = [sys.executable, "-m", "scheduler_service", "-c", str(folder / "scheduler.yaml"), "run"]
    with log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)


def documents(folder: Path) -> dict[str, bytes]:
    root = folder / "data" / "documents"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.json")}


def count(folder: Path, said: str) -> int:
    log = folder / "log"
    return log.read_text().count(said) if log.exists() else 0


def wait_for_more(folder: Path, said: str, before: int, service: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while count(folder, said) == before:
        assert service.poll() is None, (folder / "log").read_text()[-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "data" / "ledger.sqlite")) as connection:
        return list(connection.execute(sql))


def wait_until_done(folder: Path, service: subprocess.Popen[bytes], ready_before: int) -> None:
    wait_for_more(folder, READY, ready_before, service)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert service.poll() is None, (folder / "log").read_text()[-2000:]
        [(tasks, waiting)] = query(folder, "SELECT count(*), coalesce(sum(ended_at IS NULL), 0) FROM task")
        [(unpublished,)] = query(folder, "SELECT count(*) FROM document WHERE published_version = 0")
        if tasks and not waiting and not unpublished:
            return
        time.sleep(0.1)
    pytest.fail("the tasks did not end:\n" + (folder / "log").read_text()[-2000:])


@pytest.mark.timeout(300)
def test_it_survives_fifty_kills_at_random_moments(tmp_path: Path) -> None:
    luck = random.Random(20261123)
    with upstream() as (base, served):
        configuration = CONFIGURATION.format(base=base, symbols=", ".join(SYMBOLS))
        (tmp_path / "scheduler.yaml").write_text(configuration)
        for _ in range(KILLS):
            before = count(tmp_path, STARTS)
            service = start(tmp_path)
            wait_for_more(tmp_path, STARTS, before, service)
            time.sleep(luck.uniform(0.0, 0.8))
            service.send_signal(signal.SIGKILL)
            service.wait()
            for name, body in documents(tmp_path).items():
                assert json.loads(body)["data"], name
        ready = count(tmp_path, READY)
        assert ready > KILLS // 4, "the kills came before there was anything to kill"
        service = start(tmp_path)
        wait_until_done(tmp_path, service, ready)
        service.send_signal(signal.SIGTERM)
        assert service.wait(PATIENCE) == 0
        seen = Counter(request.path for request in served.seen)

    assert query(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    ended = query(tmp_path, "SELECT state, reason, count(*) FROM task GROUP BY state, reason")
    assert {(state, reason) for state, reason, _ in ended} <= {("completed", None), ("failed", "poison")}
    assert query(tmp_path, "SELECT 1 FROM run WHERE closed_at IS NULL OR open_tasks <> 0") == []
    assert query(tmp_path, "SELECT 1 FROM task GROUP BY domain, symbol, source HAVING count(*) > 1") == []

    calls = query(tmp_path, "SELECT resource_key, sum(state = 'kept'), count(*) FROM call GROUP BY resource_key")
    assert {key: kept for key, kept, _ in calls if kept > 1} == {}, "a kept answer was asked for again"
    assert sum(seen.values()) <= sum(count for _, _, count in calls), "a request left without a reservation"
    assert query(tmp_path, "SELECT sum(calls) FROM spend") == query(tmp_path, "SELECT count(*) FROM call")

    poisoned = query(tmp_path, "SELECT domain || '/' || symbol FROM task WHERE reason = 'poison'")
    whole = documents(tmp_path)
    for domain in DOMAINS:
        for symbol in SYMBOLS:
            if (f"{domain}/{symbol}",) not in poisoned:
                assert json.loads(whole[f"{domain}/{symbol}.json"])["symbol"] == symbol
    assert not list((tmp_path / "data").rglob("*.tmp"))
