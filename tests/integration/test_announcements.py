"""What a start says in the log and in ``status``: what was missed, what is paused, and that the clock is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from scheduler_service.background_scheduler import BackgroundScheduler
from scheduler_service.clock import HOUR, MINUTE, from_iso
from scheduler_service.errors import ConfigurationError
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.web.views import PauseRequest
from tests.integration.test_virtual_time import sandbox_settings
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from scheduler_service.models import Event

START = "2026-11-23T14:25:00Z"


class House:
    """The whole service, news every 30 minutes; ``said`` is what its newest process said."""

    def __init__(self, folder: Path) -> None:
        self.settings = sandbox_settings(folder / "house")
        self.said: list[Event] = []

    def live(
        self, clock: VirtualClock, story: Callable[[BackgroundScheduler, VirtualClock], Awaitable[object]]
    ) -> None:
        async def whole(clock: VirtualClock) -> None:
            transport = MemoryTransport(SandboxUpstream(clock, latency=0.02), clock)
            service = BackgroundScheduler(self.settings, clock=clock, transport=transport, web=False)
            self.said.clear()
            service._bus.subscribe(("service.*", "schedule.*", "run.*", "config.*"), self.said.append)
            await service.start()
            await story(service, clock)
            await service.stop()

        run(whole, clock=clock)

    def lines(self, name: str) -> list[str]:
        return [event.message for event in self.said if event.name == name]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_start_warns_of_what_check_warns_of(house: House) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        (said,) = (event for event in house.said if event.name == "config.warning")
        assert (said.message, said.level) == ("c.yaml:1:1 providers.feeds.urls: odd", "WARNING")

    house.settings = replace(house.settings, warnings=("c.yaml:1:1 providers.feeds.urls: odd",))
    house.live(VirtualClock(START), story)


def test_a_start_with_an_impossible_clock_says_so_and_lists_the_slots_once_it_is_right(house: House) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        wrong = "the clock shows 1970-01-01T00:0"
        (ready,) = house.lines("service.ready")
        assert f"; but {wrong}" in ready
        assert (house.lines("schedule.next"), house.lines("service.hint")) == ([], [])
        readiness = service.readiness()
        assert readiness.ready
        assert str(readiness.problem).startswith(wrong)
        status = await service.status()
        assert status.next == ()
        assert [problem for problem in status.problems if problem.startswith(wrong)] == list(status.problems)
        clock.jump(from_iso(START) - clock.now())
        await clock.sleep(70)
        assert service.readiness().problem is None
        (told,) = house.lines("schedule.next")
        assert told.endswith("next 2026-11-23T14:30:00Z")
        assert len((await service.status()).next) == 1

    house.live(VirtualClock("1970-01-01T00:00:07Z"), story)


async def half_an_hour(service: BackgroundScheduler, clock: VirtualClock) -> None:
    del service
    await clock.sleep(30 * 60)


def test_a_start_after_a_downtime_says_from_when_to_when_and_what_was_missed(house: House) -> None:
    clock = VirtualClock(START)
    house.live(clock, half_an_hour)
    assert not [line for line in house.lines("run.opened") if "missed" in line]
    clock.jump(3 * HOUR)
    house.live(clock, half_an_hour)
    (told,) = [line for line in house.lines("run.opened") if "missed" in line]
    assert told.startswith("was not running from 2026-11-23T15:00:00Z to 2026-11-23T17:55:")
    assert " (2 h 55 min): missed 6 slots, " in told


def test_a_gap_of_a_running_service_is_told_as_one(house: House) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        del service
        await clock.sleep(60)
        clock.jump(HOUR + 30 * MINUTE)
        await clock.sleep(60)

    house.live(VirtualClock(START), story)
    (told,) = [line for line in house.lines("run.opened") if "missed" in line]
    assert told.startswith("nothing was done from 2026-11-23T14:30:00Z to 2026-11-23T15:56:")


def test_what_is_paused_is_named_at_the_next_start_and_beside_its_next_slot(house: House) -> None:
    clock = VirtualClock(START)

    async def pause(service: BackgroundScheduler, clock: VirtualClock) -> None:
        assert not [line for line in house.lines("schedule.next") if "paused" in line]
        report = await service.operations.pause(PauseRequest(schedule_id="news", reason="moving"))
        assert "before" not in report.message
        report = await service.operations.pause(PauseRequest(schedule_id="news", for_ms=7_200_000))
        assert report.message.endswith("; before, it was paused until someone resumes it (moving)")
        await clock.sleep(1)

    async def look(service: BackgroundScheduler, clock: VirtualClock) -> None:
        (told,) = [line for line in house.lines("schedule.next") if "paused" in line]
        assert told == "still paused: news since 2026-11-23T14:25:00Z, until 2026-11-23T16:25:00Z"
        (slot,) = (await service.status()).next
        assert slot.note == "paused: it will be skipped"
        await clock.sleep(1)

    house.live(clock, pause)
    house.live(clock, look)


def test_a_domain_is_not_paused_but_its_schedules_are_named(house: House) -> None:
    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        del clock
        with pytest.raises(ConfigurationError, match="news is a domain; its schedules are: half-hourly"):
            await service.operations.pause(PauseRequest(schedule_id="news"))

    (news,) = house.settings.schedules
    house.settings = replace(house.settings, schedules=(replace(news, id="half-hourly"),))
    house.live(VirtualClock(START), story)
