"""The machine that the other tests stand on: time that passes by itself, kills, and the whole service on it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from scheduler_service.background_scheduler import BackgroundScheduler
from scheduler_service.clients.base import discover as discover_clients
from scheduler_service.clock import DAY, HOUR, SECOND, from_iso
from scheduler_service.processors.base import discover as discover_processors
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.settings.load import load
from tests.virtual_time import Deadlock, VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.settings.loaded import Settings


CONFIG = """
service: {data_dir: data}
watchlist: [AAPL, ACMEX]
providers: {sandbox: {enabled: true}}
domains: {news: {sources: [{use: feeds, fresh_for: 20m}]}}
schedules: [{id: news, domain: news, symbols: all, trigger: {every: 30m}, spread: 1m}]
"""


def sandbox_settings(folder: Path, text: str = CONFIG) -> Settings:
    folder.mkdir()
    (config := folder / "config.yaml").write_text(text)
    return load(
        [config],
        {},
        providers={name: client.Options for name, client in discover_clients().items()},
        sources={
            domain: {source.name: source.provider for source in processor.sources}
            for domain, processor in discover_processors().items()
        },
    )


def test_it_sleeps_without_waiting_and_to_the_microsecond() -> None:
    async def story(clock: VirtualClock) -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []

        async def sleeper(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            seen.append((name, clock.now()))

        await asyncio.gather(sleeper("late", 90 * 86_400), sleeper("soon", 0.25))
        return seen

    start = from_iso("2031-01-01T00:00:00Z")
    assert run(story, start=start) == [("soon", start + SECOND // 4), ("late", start + 90 * DAY)]


def test_it_steps_the_wall_clock_without_a_timer_noticing() -> None:
    async def story(clock: VirtualClock) -> tuple[int, float]:
        sleeping = asyncio.create_task(clock.sleep(60))
        await asyncio.sleep(0)
        clock.jump(-2 * HOUR)
        await sleeping
        return clock.now(), clock.monotonic()

    start = from_iso("2031-01-01T00:00:00Z")
    assert run(story, start=start) == (start - 2 * HOUR + 60 * SECOND, 60.0)


def test_it_says_who_waits_for_what_will_never_happen() -> None:
    async def story(clock: VirtualClock) -> None:
        del clock
        await asyncio.create_task(asyncio.Event().wait(), name="the forgotten one")

    with pytest.raises(Deadlock, match="the forgotten one"):
        run(story)


def test_it_carries_out_in_place_what_goes_to_threads_and_keeps_a_single_threads_order() -> None:
    async def story(clock: VirtualClock) -> list[int]:
        del clock
        loop, order = asyncio.get_running_loop(), list[int]()
        with ThreadPoolExecutor(1) as one:
            hops = [loop.run_in_executor(one, int, n) for n in range(20)]
            for hop in hops:
                hop.add_done_callback(lambda done: order.append(done.result()))
            await asyncio.gather(*hops)
            with pytest.raises(ZeroDivisionError):
                await asyncio.to_thread(lambda: 1 // 0)
        return order

    assert run(story) == list(range(20))


def test_it_draws_the_same_latencies_from_the_same_seed() -> None:
    async def story(clock: VirtualClock) -> list[int]:
        seen = []
        for _ in range(5):
            await asyncio.to_thread(int)
            seen.append(clock.now())
        return seen

    assert run(story, seed=1) == run(story, seed=1) != run(story, seed=2)


@pytest.mark.parametrize("seed", range(6))
def test_it_runs_nothing_of_a_process_after_its_kill(seed: int) -> None:
    did: list[str] = []

    async def worker() -> None:
        try:
            for step in range(5):
                await asyncio.to_thread(did.append, f"hop {step}")
                did.append(f"after {step}")
        finally:
            did.append("cleaned up")

    async def story(clock: VirtualClock) -> None:
        others = [asyncio.create_task(worker())]
        await clock.sleep(3600)
        await asyncio.gather(*others)

    clock = VirtualClock()
    assert run_until_killed(story, hop=3, clock=clock, seed=seed)
    before = ["hop 0", "after 0", "hop 1", "after 1"]
    assert did in (before, [*before, "hop 2"])


def test_it_tells_that_a_process_ended_before_its_kill() -> None:
    async def story(clock: VirtualClock) -> None:
        await clock.sleep(1)

    assert not run_until_killed(story, hop=1, clock=VirtualClock())


def test_the_whole_service_runs_on_it_the_same_way_twice(tmp_path: Path) -> None:
    def carried_out(folder: Path) -> list[str]:
        async def story(clock: VirtualClock) -> list[str]:
            transport = MemoryTransport(SandboxUpstream(clock, latency=0.02), clock)
            service = BackgroundScheduler(sandbox_settings(folder), clock=clock, transport=transport, web=False)
            said: list[str] = []
            service._bus.subscribe(("slot.closed", "run.closed"), lambda event: said.append(event.message))
            await service.start()
            assert service.readiness().ready
            await clock.sleep(70 * 60)
            await service.stop()
            return said

        return run(story, start="2026-11-23T14:25:00Z")

    once = carried_out(tmp_path / "a")
    assert sum("news, due" in line for line in once) == 3
    assert carried_out(tmp_path / "b") == once
