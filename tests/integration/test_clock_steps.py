"""A clock that is set, sleeps, or is wrong from the start: noticed within 30 s, and no slot is doubled or lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.background_scheduler import BackgroundScheduler
from scheduler_service.clock import BUILT_AT, DAY, HOUR, MINUTE, SECOND, from_iso
from scheduler_service.errors import SchedulerServiceError
from scheduler_service.models import Event
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.web.views import FetchRequest
from tests.integration.scheduling_bench import Bench, a_schedule, clock_time
from tests.integration.test_virtual_time import sandbox_settings
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from scheduler_service.clock import Instant

START = "2026-11-23T14:25:00Z"
NAMES = ("clock.jumped", "clock.implausible", "service.stalled", "slot.opened", "run.opened", "task.crashed")


class House:
    """The whole service on one machine, news every 30 minutes; ``said`` is what its processes said."""

    def __init__(self, folder: Path) -> None:
        self.settings = sandbox_settings(folder / "house")
        self.said: list[Event] = []

    def live(
        self,
        story: Callable[[BackgroundScheduler, VirtualClock], Coroutine[Any, Any, None]],
        clock: VirtualClock,
        seed: int = 0,
    ) -> None:
        """One process, from its start to its end."""

        async def whole(clock: VirtualClock) -> None:
            transport = MemoryTransport(SandboxUpstream(clock, latency=0.02), clock)
            service = BackgroundScheduler(self.settings, clock=clock, transport=transport, web=False)
            service._bus.subscribe(NAMES, self.said.append)
            await service.start()
            await story(service, clock)
            await service.stop()

        run(whole, clock=clock, seed=seed)

    def names(self) -> list[str]:
        return [event.name for event in self.said]

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.settings.service.data_dir / "ledger.sqlite")) as connection:
            return connection.execute(query).fetchall()

    def slots(self) -> list[tuple[str, int, str]]:
        rows = self.sql("select due_at, slots, outcome from slot order by due_at")
        return [(clock_time(due_at), slots, outcome) for due_at, slots, outcome in rows]

    def covered(self, where: str = "1") -> list[Instant]:
        """Every slot that is recorded, by itself."""
        rows = self.sql(f"select due_at, slots from slot where {where} order by due_at")
        return [due_at + number * 30 * MINUTE for due_at, slots in rows for number in range(slots)]

    def runs(self) -> list[str]:
        return [clock_time(due) for (due,) in self.sql("select due_at from run where origin = 'schedule' order by id")]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.parametrize("minutes", [1, 7, 29])
def test_a_clock_that_goes_forward_is_noticed_within_30_seconds_and_its_slots_are_caught_up_once(
    house: House, minutes: int
) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(minutes * 60)  # 14:26 to 14:54
        clock.jump(3 * HOUR)
        late = clock.now()
        await clock.sleep(31)
        assert house.names().count("clock.jumped") == 1
        assert house.covered()[-1] > late - 30 * MINUTE
        await clock.sleep(40 * 60)

    house.live(story, VirtualClock(START))
    assert "forward by 3 h" in next(event.message for event in house.said if event.name == "clock.jumped")
    assert house.covered() == list(range(from_iso("2026-11-23T14:30:00Z"), house.covered()[-1] + 1, 30 * MINUTE))
    assert len(house.runs()) == len(set(house.runs()))
    assert "task.crashed" not in house.names()
    caught = [event.message for event in house.said if "missed" in event.message and event.name == "run.opened"]
    assert len(caught) == 1
    assert "2 fetches" in caught[0]


def test_a_clock_that_goes_back_does_nothing_twice_and_is_never_silent(house: House) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(96 * 60)  # 16:01; 14:30, 15:00, 15:30 and 16:00 were run
        clock.jump(-HOUR)
        await clock.sleep(31)
        assert house.names().count("clock.jumped") == 2, "the step, and what it takes back"
        next_one = service.rounds._alarm_clock.next_due("news")
        assert next_one is not None
        assert clock_time(next_one) == "15:30"
        await clock.sleep(2 * 3600)  # 17:01

    house.live(story, VirtualClock(START))
    assert [time for time, _, outcome in house.slots() if outcome == "ran"] == [
        "14:30",
        "15:00",
        "15:30",
        "16:00",
        "16:30",
        "17:00",
    ]
    assert house.runs() == ["14:30", "15:00", "15:30", "16:00", "16:30", "17:00"]
    assert "back by 60 min" in next(event.message for event in house.said if event.name == "clock.jumped")


def test_a_start_with_a_clock_a_month_ahead_is_undone_when_it_is_right_again(house: House) -> None:
    clock = VirtualClock(START)

    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(36 * 60)

    house.live(story, clock)  # until 15:01
    clock.jump(30 * DAY)
    house.live(story, clock)  # 30 days later, 15:01 to 15:37
    done_ahead = house.runs()[2:]
    assert done_ahead == ["15:00", "15:30"]
    clock.jump(-30 * DAY)
    house.live(story, clock)  # 15:37 to 16:13
    assert "clock.jumped" in house.names()
    now = clock.now()
    assert house.sql(f"select count(*) from slot where due_at > {now} and outcome not in ('ran', 'caught_up')") == [
        (0,)
    ]
    assert house.sql(f"select count(*) from slot where due_at > {now}") == [(2,)]
    first = from_iso("2026-11-23T14:30:00Z")
    assert house.covered(f"due_at <= {now}") == list(range(first, now, 30 * MINUTE))
    assert house.sql(f"select count(*) from task where not_before > {now} or queued_at > {now}") == [(2 * 2,)]
    assert house.sql("select count(*) from task where ended_at is null") == [(0,)]


def test_a_start_in_the_year_2200_builds_no_list_and_is_undone(house: House) -> None:
    clock = VirtualClock(START)

    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(60)

    house.live(story, clock)
    clock.jump(174 * 365 * DAY)
    house.live(story, clock)
    assert len(house.slots()) <= 3
    clock.jump(-174 * 365 * DAY)
    house.live(story, clock)
    (cursor,) = house.sql("select cursor from schedule")[0]
    assert cursor <= clock.now()


def test_before_the_program_was_made_nothing_is_planned_asked_or_recorded(house: House) -> None:
    clock = VirtualClock("1970-01-01T00:00:07Z")

    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(3600)
        assert house.sql("select count(*) from schedule") == [(0,)]
        assert house.sql("select count(*) from run") == [(0,)]
        status = await service.status()
        assert any("the clock shows 1970-01-01" in problem for problem in status.problems)
        with pytest.raises(SchedulerServiceError, match="until the clock is right"):
            async for _ in service.operations.fetch(FetchRequest(domain="news", symbols=("AAPL",))):
                pass
        clock.jump(from_iso(START) - clock.now())
        await clock.sleep(31)
        assert (await service.status()).problems == ()
        assert house.sql("select count(*), min(created_at) >= " + str(BUILT_AT) + " from run") == [(1, 1)]
        await clock.sleep(6 * 60)

    house.live(story, clock)
    assert house.names().count("clock.implausible") == 1
    assert house.slots() == [("14:30", 1, "ran")]
    assert house.sql("select count(*) from task where state != 'completed' and reason != 'fresh'") == [(0,)]


def test_a_start_in_1970_leaves_what_was_written_before_as_it_is(house: House) -> None:
    clock = VirtualClock(START)

    async def a_while(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(36 * 60)

    house.live(a_while, clock)
    before = [house.sql(f"select * from {table}") for table in ("schedule", "slot", "run", "task", "call")]
    away = clock.now() - from_iso("1970-01-01T00:01:00Z")
    clock.jump(-away)
    house.live(a_while, clock)
    assert [house.sql(f"select * from {table}") for table in ("schedule", "slot", "run", "task", "call")] == before
    clock.jump(away)
    house.live(a_while, clock)
    assert house.runs() == ["14:30", "15:00", "15:30", "16:00"]


def test_what_a_wrong_clock_wrote_down_for_later_is_void(tmp_path: Path) -> None:
    bench = Bench(tmp_path, START)
    bench.boot(a_schedule(spread=5 * MINUTE))
    bench.clock.jump(30 * DAY)
    bench.later(HOUR)
    bench.sweep()
    bench.do(bench.dispatcher.pause("other", None))
    bench.sql_write(
        "insert into gate_state (provider, name, until_at, set_at) values ('a', 'closed', ?, ?)", *[bench.now] * 2
    )
    bench.sql_write(
        "insert into document (domain, symbol, version, published_version, data, changed_at, publish_after)"
        " values ('d', 'A', 1, 0, x'', ?, ?)",
        *[bench.now] * 2,
    )
    bench.clock.jump(-30 * DAY)
    bench.do(bench.dispatcher.clock_stepped())
    now = bench.now
    assert bench.sql("select scope, since <= ?, until from pause", now) == [("other", 1, None)], "it is a person's wish"
    assert bench.sql("select count(*) from gate_state") == [(0,)]
    assert bench.sql("select publish_after from document")[0][0] <= now
    for queued_at, not_before, expires_at in bench.tasks("queued_at, not_before, expires_at"):
        assert queued_at <= now
        assert not_before <= now
        assert now < expires_at <= now + HOUR
    assert len(bench.claim()) == 6
    bench.close()


def test_a_process_that_stood_still_says_so_also_where_no_slot_was_due(house: House) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(10)
        clock.pass_by(37 * SECOND)
        await clock.sleep(31)

    house.live(story, VirtualClock(START))
    (said,) = [event.message for event in house.said if event.name == "service.stalled"]
    assert said.startswith("nothing was done for 17.0 s")


def test_a_small_adjustment_of_the_clock_is_no_step(house: House) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        for _ in range(30):
            clock.jump(SECOND)
            await clock.sleep(29)

    house.live(story, VirtualClock(START))
    assert "clock.jumped" not in house.names()


def test_the_store_recovers_without_looking_at_a_clock_that_is_impossible(tmp_path: Path) -> None:
    bench = Bench(tmp_path, START)
    bench.boot(a_schedule())
    bench.later(HOUR)
    bench.sweep()
    held = bench.now + DAY
    bench.sql_write("update task set not_before = ?", held)
    bench.stop()
    bench.clock.jump(-50 * 365 * DAY)
    bench.boot(a_schedule())
    assert bench.tasks("distinct not_before") == [(held,)]
    bench.close()


def test_a_definition_that_nobody_understands_any_more_stops_no_start_and_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path, START)
    bench.boot(a_schedule())
    bench.later(3 * HOUR)
    bench.sweep()
    bench.stop()
    bench.sql_write("update schedule set definition = replace(definition, 'New_York', 'Atlantis')")
    bench.clock.jump(-2 * HOUR)
    bench.boot()
    (told,) = [event for event in bench.events if event.name == "schedule.unreadable"]
    assert told.message.startswith("hourly: what it was is not understood any more")
    assert bench.sql("select closed_at is not null, cursor <= ? from schedule", bench.now) == [(1, 1)]
    bench.close()
