"""What the service sees of itself: each way in which it can fail is made to happen, told once, and over when it is."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import pytest

from scheduler_service import vitals as vital_signs
from scheduler_service.background_scheduler import BackgroundScheduler
from scheduler_service.clock import MINUTE
from scheduler_service.errors import StoreError
from scheduler_service.gates import room as rooms
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.stores.pause_store import EVERYTHING
from scheduler_service.vitals import LoopLag, vitals
from tests.fakes import FakeClock
from tests.integration.test_virtual_time import CONFIG, sandbox_settings
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from scheduler_service.models import Event
    from scheduler_service.settings.loaded import Settings

    Story = Callable[[BackgroundScheduler, VirtualClock], Awaitable[object]]


EARNINGS = """
service: {data_dir: data}
watchlist: [AAPL, ACMEX]
providers: {sandbox: {enabled: true}}
domains: {earnings: {sources: [{use: edgar, fresh_for: 20h}]}}
schedules: [{id: earnings, domain: earnings, symbols: all, trigger: {every: 12h}}]
"""


class Told(NamedTuple):
    event: str
    level: str
    message: str


class House:
    """The whole service, in virtual time; ``said`` is what all its processes said."""

    def __init__(self, folder: Path, text: str = CONFIG) -> None:
        self.settings: Settings = sandbox_settings(folder / "house", text)
        self.clock = VirtualClock("2026-11-23T14:25:00Z")
        self.upstream = SandboxUpstream(self.clock, latency=0.02)
        self.said: list[Event] = []

    def live(self, story: Story) -> None:
        async def whole(clock: VirtualClock) -> None:
            transport = MemoryTransport(self.upstream, clock)
            service = BackgroundScheduler(self.settings, clock=clock, transport=transport, web=False)
            service._bus.subscribe("*", self.said.append)
            await service.start()
            await story(service, clock)
            await service.stop()

        run(whole, clock=self.clock)

    def health(self) -> list[Told]:
        """What was noticed of it, as the ledger has it."""
        query = "SELECT event, level, message FROM outbox WHERE event = 'health.changed' ORDER BY id"
        with closing(sqlite3.connect(self.settings.service.data_dir / "ledger.sqlite")) as conn:
            return [Told(*row) for row in conn.execute(query)]

    def lines(self, name: str) -> list[str]:
        return [event.message for event in self.said if event.name == name]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_below_the_disk_floor_nothing_is_asked_and_all_goes_on_when_there_is_room(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [10**12]
    monkeypatch.setattr(rooms, "free_bytes", lambda folder: free[0])

    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(120)
        asked = len(house.upstream.seen)
        free[0] = 400_000_000
        await clock.sleep(45 * 60)
        assert len(house.upstream.seen) == asked
        status = await service.status()
        assert any("400.0 MB are free" in problem for problem in status.problems)
        assert status.health is not None
        assert status.health.state == "degraded"
        free[0] = 10**12
        await clock.sleep(120)
        assert len(house.upstream.seen) > asked
        status = await service.status()
        assert not status.problems
        assert status.queued == 0
        await clock.sleep(120)

    house.live(story)
    assert len(house.lines("disk.low")) == len(house.lines("disk.has_room")) == 1
    held = [event for event in house.said if event.name == "task.deferred" and event.fields["reason"] == "disk_low"]
    assert {event.level for event in held} == {"DEBUG"}, "it is told once, and not of each"
    assert [(one.level, one.message.partition(":")[0]) for one in house.health()] == [
        ("WARNING", "the service is degraded"),
        ("INFO", "the service is healthy again; it was degraded"),
    ]


def test_rounds_that_hang_make_it_unhealthy(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        hangs = asyncio.Event()

        async def hang() -> None:
            await hangs.wait()

        with monkeypatch.context() as patched:
            patched.setattr(service.dispatcher, "reconcile_all", hang)
            await clock.sleep(5 * 60)
        hangs.set()
        await clock.sleep(5 * 60)

    house.live(story)
    first, last = house.health()
    assert (first.level, last.message) == ("CRITICAL", "the service is healthy again; it was unhealthy")
    assert "its rounds do not come round" in first.message


def test_a_task_that_dies_is_told_before_the_service_ends_and_it_is_well_after_the_next_start(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(service: BackgroundScheduler, clock: VirtualClock) -> None:
        async def fall_over() -> None:
            raise RuntimeError("no more")

        await clock.sleep(120)
        monkeypatch.setattr(service.engine.publisher, "publish_forever", fall_over)
        service._owned.start("publisher", fall_over())
        await service.until_stop()
        assert service.failed

    house.live(dies)
    [told] = house.health()
    assert told.level == "CRITICAL"
    assert "the task 'publisher' has died: no more" in told.message

    async def lives(service: BackgroundScheduler, clock: VirtualClock) -> None:
        del service
        await clock.sleep(180)

    house.live(lives)
    assert [one.message for one in house.health()][1:] == ["the service is healthy again; it was unhealthy"]


def test_a_monitor_that_cannot_look_is_seen_in_status_and_one_that_is_blind_calls_nothing_healthy(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        def broken(*_: object) -> object:
            raise ValueError("no light")

        await clock.sleep(60)
        with monkeypatch.context() as patched:
            patched.setattr(vital_signs, "_memory", broken)
            await clock.sleep(130)
            status = await service.status()
            assert "the health monitor cannot look: ValueError: no light" in status.problems
            assert status.health is not None
            assert status.health.state == "unhealthy"
        await clock.sleep(70)
        assert not (await service.status()).problems

    house.live(story)


def test_a_ledger_that_cannot_be_read_is_no_sign_of_health(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        async def unreadable(*_: object) -> object:
            raise StoreError("the ledger could not be read: disk I/O error")

        with monkeypatch.context() as patched:
            patched.setattr(service, "status", unreadable)
            await clock.sleep(70)
            seen = service._watching._shown_health()
            assert seen is not None
            assert (seen.state, seen.reasons) == ("unhealthy", ("the ledger could not be read: disk I/O error",))

    house.live(story)


def test_what_is_overdue_after_a_start_is_no_trouble_yet_but_no_reason_to_ping(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: object) -> dict[str, str]:
        return {"news": "news: all of it is late"}

    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        monkeypatch.setattr(vital_signs, "overdue", late)
        at_once = await vitals(service.engine, service, 0.0)
        assert (at_once.state, at_once.is_fresh) == ("healthy", False)
        await clock.sleep(11 * MINUTE / 1_000_000)
        later = await vitals(service.engine, service, 0.0)
        assert (later.troubles, later.is_fresh) == (("news: all of it is late",), False)

    house.live(story)


def test_after_a_restore_looks_are_planned_around_a_date_that_was_told_long_ago(tmp_path: Path) -> None:
    house = House(tmp_path, EARNINGS)
    planned: list[set[str]] = []

    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(120)
        planned.append(set(service.dispatcher.follow_ups))

    house.live(story)
    with closing(sqlite3.connect(house.settings.service.data_dir / "ledger.sqlite")) as conn, conn:
        [(told,)] = conn.execute("SELECT count(*) FROM outbox WHERE event = 'earnings.date_found'")
        # as it was before the first fetch; what was told is taken over
        for table in ("document", "contribution", "stock_state", "schedule WHERE origin = 'follow_up'"):
            conn.execute(f"DELETE FROM {table}")
    assert told > 0
    house.live(story)
    first, again = planned
    assert first == again != set()


def test_a_pause_troubles_nobody_and_is_no_reason_to_ping_once_what_is_known_is_old(house: House) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        async def seen() -> tuple[str, bool]:
            found = await vitals(service.engine, service, 0.0)
            return found.state, found.is_fresh

        await clock.sleep(30 * 60)  # 14:55; slots at 15:00, 15:30, ...
        await service.dispatcher.pause("news", None, None)
        await clock.sleep(60 * 60)
        assert await seen() == ("healthy", True), "an hour after the first of them it is no longer"
        await clock.sleep(10 * 60)
        assert await seen() == ("healthy", False)
        await service.dispatcher.pause(EVERYTHING, None, None)
        await service.dispatcher.resume("news")
        assert await seen() == ("healthy", False)
        await service.dispatcher.resume(EVERYTHING)
        assert await seen() == ("healthy", False), "nothing was due since"
        await clock.sleep(30 * 60)
        assert await seen() == ("healthy", True)

    house.live(story)


def test_a_loop_that_was_blocked_is_a_trouble(house: House) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        del clock
        seen = await vitals(service.engine, service, 2.5)
        assert seen.troubles == ("the service was 2.5 s behind with everything it does",)

    house.live(story)


async def test_the_worst_lag_since_the_last_look_is_what_counts() -> None:
    class Blocked(FakeClock):
        """Whose sleeps are late by what is next in the list."""

        late: ClassVar[list[float]] = [0.0, 1.5, 0.25, 0.0]

        async def sleep(self, seconds: float) -> None:
            if not self.late:
                await asyncio.Event().wait()
            await super().sleep(seconds + self.late.pop(0))

    lag = LoopLag(clock := Blocked())
    measuring = asyncio.create_task(lag.measure_forever())
    while clock.late:
        await asyncio.sleep(0)
    measuring.cancel()
    assert lag.take() == pytest.approx(1.5)
    assert lag.take() == 0.0
