"""The calendars of a running service: none of it waits for them, and all of it goes by what is known at the time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler_service.alarm_clock import Alarm, AlarmClock
from scheduler_service.background_scheduler import BackgroundScheduler
from scheduler_service.calendar_file import Compute, path_of
from scheduler_service.calendar_format import calendar_text
from scheduler_service.calendar_upkeep import LOOK_EVERY, RETRY_AFTER, CalendarUpkeep
from scheduler_service.clients.base import discover as discover_clients
from scheduler_service.clock import BUILT_AT, DAY, HOUR, MINUTE, SECOND, from_iso, to_iso
from scheduler_service.errors import CalendarsNotComputed
from scheduler_service.models import Event
from scheduler_service.processors.base import discover as discover_processors
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.settings.load import load
from scheduler_service.triggers import parse_trigger
from tests.market_support import MADE_AT, calendars, new_york
from tests.virtual_time import VirtualClock, run

THANKSGIVING = from_iso("2026-11-26T14:20:00Z")
DAY_AFTER = from_iso("2026-11-27T17:50:00Z")


class Process:
    """Stands in for the process that computes sessions: takes a while, and fails when told to."""

    def __init__(self, clock: VirtualClock, seconds: float = 2.0) -> None:
        self.asked: list[list[str]] = []
        self.fails = False
        self._clock = clock
        self._seconds = seconds

    async def __call__(self, arguments: Sequence[str]) -> bytes:
        self.asked.append(list(arguments[: arguments.index("--from")]))
        await self._clock.sleep(self._seconds)
        if self.fails:
            raise CalendarsNotComputed("no memory")
        return json.dumps({"XNYS": json.loads(calendar_text(replace(new_york(), made_at=None)))}).encode()


def upkeep(folder: Path, clock: VirtualClock, compute: Compute, events: list[Event]) -> CalendarUpkeep:
    def publish(event: Event) -> None:
        events.append(event)

    return CalendarUpkeep(folder=folder, exchanges=["XNYS"], clock=clock, publish=publish, compute=compute)


def told(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def test_a_missing_calendar_is_computed_once_and_read_at_the_next_start(tmp_path: Path) -> None:
    events: list[Event] = []

    async def story(clock: VirtualClock) -> None:
        process = Process(clock)
        first = upkeep(tmp_path / "calendars", clock, process, events)
        await first.read()
        assert first.calendar("XNYS").last_day is None
        assert len(first.warnings()) == 1
        assert await first.refresh()
        assert first.calendar("XNYS").sessions == new_york().sessions
        assert first.warnings() == []
        assert not await first.refresh()
        another = upkeep(tmp_path / "calendars", clock, process, events)
        await another.read()
        assert not await another.refresh()
        assert another.calendar("XNYS") == first.calendar("XNYS")
        assert process.asked == [["XNYS"]]

    run(story)
    assert told(events) == ["calendars.refreshed"]


def test_what_cannot_be_computed_is_tried_again_by_and_by_and_warned_of_once(tmp_path: Path) -> None:
    events: list[Event] = []
    renewed: list[int] = []

    async def story(clock: VirtualClock) -> None:
        process = Process(clock)
        process.fails = True
        kept = upkeep(tmp_path, clock, process, events)
        await kept.read()
        keeping = asyncio.create_task(kept.keep_up_forever(lambda: renewed.append(clock.now())))
        await clock.sleep(3.5 * RETRY_AFTER)
        assert len(process.asked) == 4
        assert told(events) == ["calendars.incomplete"]
        assert "no memory" in events[0].message
        assert renewed == []
        process.fails = False
        await clock.sleep(RETRY_AFTER)
        assert len(renewed) == 1
        await clock.sleep(29 * 86_400)
        assert len(process.asked) == 5
        await clock.sleep(2 * 86_400)
        assert (len(process.asked), len(renewed)) == (6, 2)
        keeping.cancel()

    run(story)
    assert told(events) == ["calendars.incomplete", "calendars.refreshed", "calendars.refreshed"]


def test_a_mistake_in_it_costs_nothing_but_the_calendar(tmp_path: Path) -> None:
    events: list[Event] = []

    async def broken(arguments: Sequence[str]) -> bytes:
        raise ZeroDivisionError

    async def story(clock: VirtualClock) -> None:
        keeping = asyncio.create_task(upkeep(tmp_path, clock, broken, events).keep_up_forever(lambda: None))
        await clock.sleep(3 * LOOK_EVERY)
        assert not keeping.done()
        keeping.cancel()

    run(story)
    assert [(event.name, event.level) for event in events][:1] == [("calendars.incomplete", "ERROR")]


def test_a_clock_that_is_wrong_computes_nothing(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        process = Process(clock)
        kept = upkeep(tmp_path, clock, process, [])
        assert not await kept.refresh()
        clock.jump(DAY)
        assert await kept.refresh()
        assert len(process.asked) == 1

    run(story, start=BUILT_AT - HOUR)


def test_exchanges_that_only_removed_schedules_needed_are_still_read(tmp_path: Path) -> None:
    path_of(tmp_path, "XNYS").write_bytes(calendar_text(new_york()))

    async def story(clock: VirtualClock) -> None:
        kept = CalendarUpkeep(folder=tmp_path, exchanges=[], clock=clock, publish=lambda event: None)
        await kept.read()
        assert kept.calendar("XNYS") == new_york()
        assert kept.warnings() == []

    run(story)


def test_a_stored_alarm_goes_by_the_calendar_of_today(tmp_path: Path) -> None:
    """And is equal to the wanted one, so that not every sweep writes it anew."""

    async def story(clock: VirtualClock) -> None:
        trigger = parse_trigger({"market": "XNYS", "at": "close+5m"}, "UTC", calendars)
        due = trigger.next(clock.now())
        assert due == from_iso("2026-11-27T18:05:00Z")
        for _ in range(2):
            alarms = AlarmClock(tmp_path / "jobs.sqlite", clock, lambda _: None, lambda _: None, calendars)
            alarms.start()
            assert alarms.sync({"close": Alarm(trigger, due)})
            written = (tmp_path / "jobs.sqlite-wal").stat().st_size
            assert alarms.sync({"close": Alarm(trigger, due)})
            assert (tmp_path / "jobs.sqlite-wal").stat().st_size == written
            assert alarms.next_due("close") == due
            alarms.shutdown()

    run(story, start="2026-11-26T15:00:00Z")


CONFIG = """
service: {data_dir: data, timezone: UTC}
watchlist: [AAPL]
providers: {sandbox: {enabled: true}}
domains: {news: {sources: [{use: feeds, fresh_for: 1s}]}}
schedules:
  - {id: open, domain: news, trigger: {market: XNYS, at: open+5m}}
  - {id: close, domain: news, trigger: {market: XNYS, at: close+5m}}
  - {id: window, domain: news, trigger: {every: 30m}, during: {market: XNYS}}
"""


def service_of(
    folder: Path, clock: VirtualClock, compute: Compute, said: list[str], text: str = CONFIG
) -> BackgroundScheduler:
    (config := folder / "config.yaml").write_text(text)
    settings = load(
        [config],
        {},
        providers={name: client.Options for name, client in discover_clients().items()},
        sources={
            domain: {source.name: source.provider for source in processor.sources}
            for domain, processor in discover_processors().items()
        },
    )
    transport = MemoryTransport(SandboxUpstream(clock, latency=0.02), clock)
    service = BackgroundScheduler(settings, clock=clock, transport=transport, web=False, compute_sessions=compute)
    service._bus.subscribe(("run.closed", "slot.closed"), lambda event: said.append(event.message))
    return service


@pytest.mark.parametrize(
    ("start", "ran"),
    [
        (THANKSGIVING, []),
        (DAY_AFTER, ["close 18:05"]),
        (DAY_AFTER - HOUR, ["window 17:00", "window 17:30", "close 18:05"]),
    ],
)
def test_readiness_does_not_wait_and_slots_go_by_the_calendar_once_it_is_there(
    tmp_path: Path, start: int, ran: list[str]
) -> None:
    async def story(clock: VirtualClock) -> None:
        said: list[str] = []
        service = service_of(tmp_path, clock, Process(clock, seconds=70), said)
        await service.start()
        assert service.readiness().ready
        assert (clock.now() - start) < 10 * SECOND
        assert service.engine.calendars.warnings() != []
        assert (await service.status()).warnings != ()
        assert (await service.status()).problems == ()
        await clock.sleep(75)  # the next sweep would come at 90
        assert (await service.status()).warnings == ()
        due = service.dispatcher.next_due("close", clock.now())
        assert due == from_iso("2026-11-27T18:05:00Z")
        assert service.rounds._alarm_clock.next_due("close") == due
        slots = service.engine.ledger
        await clock.sleep((start + 2 * HOUR - clock.now()) / SECOND)
        rows = await slots.read(
            lambda conn: conn.exec_driver_sql(
                "SELECT schedule_id, due_at, outcome FROM slot WHERE outcome = 'ran' ORDER BY due_at"
            ).all()
        )
        assert [f"{row.schedule_id} {to_iso(row.due_at)[11:16]}" for row in rows] == ran
        await service.stop()

    run(story, start=start)


def test_what_is_kept_holds_from_the_first_moment(tmp_path: Path) -> None:
    (folder := tmp_path / "data" / "calendars").mkdir(parents=True)
    path_of(folder, "XNYS").write_bytes(calendar_text(new_york()))

    async def story(clock: VirtualClock) -> None:
        process = Process(clock)
        service = service_of(tmp_path, clock, process, [])
        await service.start()
        assert service.dispatcher.next_due("close", clock.now()) == from_iso("2026-11-27T18:05:00Z")
        assert service.engine.calendars.warnings() == []
        await clock.sleep(5)
        assert process.asked == []
        await service.stop()

    run(story, start=THANKSGIVING)


def test_a_window_that_only_the_calendar_knows_to_be_shut_is_warned_of_once_that_is_there(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        daily = "  - {id: christmas, domain: news, trigger: {cron: '0 16 25 12 *'}, during: {market: XNYS}}\n"
        service = service_of(tmp_path, clock, Process(clock), [], CONFIG + daily)
        told: list[str] = []
        service._bus.subscribe(("schedule.excluded",), lambda event: told.append(event.message))
        await service.start()
        assert told == []
        await clock.sleep(10)
        (said,) = told
        assert said.startswith("schedule christmas: no slot of ")
        assert (await service.status()).warnings == (said,)
        await service.stop()

    run(story, start=DAY_AFTER)


def test_a_stop_does_not_wait_for_the_process(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        service = service_of(tmp_path, clock, Process(clock, seconds=3600), [])
        await service.start()
        await clock.sleep(5)
        before = clock.now()
        await service.stop()
        assert clock.now() - before < 5 * SECOND
        assert not service.failed

    run(story, start=DAY_AFTER)


def test_without_markets_nothing_is_looked_after(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        process = Process(clock)
        service = service_of(tmp_path, clock, process, [])
        service.engine.calendars.exchanges = frozenset()
        await service.start()
        await clock.sleep(5)
        assert process.asked == []
        await service.stop()

    run(story, start=MADE_AT + DAY + MINUTE)
