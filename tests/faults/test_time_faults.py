"""What a stopped, blocked, locked or restarted process makes of time: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from scheduler_service.background_scheduler import BackgroundScheduler
from scheduler_service.clock import HOUR, MINUTE, SECOND, from_iso, to_datetime
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.stores import database
from scheduler_service.triggers import parse_trigger
from tests.integration.scheduling_bench import ZONE, Bench, a_schedule
from tests.integration.test_clock_steps import House
from tests.integration.test_virtual_time import sandbox_settings
from tests.virtual_time import Killed, VirtualClock, run

if TYPE_CHECKING:
    from pathlib import Path

START = "2026-11-23T14:25:00Z"
EVERYTHING = (
    "select schedule_id, due_at, until_at, slots, outcome, reason, run_id from slot order by 1, 2",
    "select id, origin, schedule_id, due_at, plan, open_tasks, completed, closed_at is null from run order by id",
    "select run_id, symbol, source, state, reason, attempt from task order by id",
    f"select id, cursor / {MINUTE}, closed_at is null from schedule order by id",
)


def a_machine_that_died_at_work(folder: Path) -> Bench:
    """A day ago it was killed with tasks under way and others waiting."""
    folder.mkdir()
    bench = Bench(folder, START)
    bench.boot(a_schedule(), a_schedule("gone"))
    bench.later(40 * MINUTE)
    bench.sweep()
    bench.claim(1)
    bench.kill()
    bench.later(24 * HOUR)
    return bench


def test_a_start_that_is_killed_five_times_over_leaves_what_one_clean_start_leaves(tmp_path: Path) -> None:
    """Fault 6."""
    again = (a_schedule(trigger={"every": "30m"}), a_schedule("new"))
    clean = a_machine_that_died_at_work(tmp_path / "clean")
    clean.boot(*again)
    wanted = [clean.sql(query) for query in EVERYTHING]
    clean.close()
    for hop in range(1, 60):
        bench = a_machine_that_died_at_work(tmp_path / str(hop))
        kills = 0
        for _ in range(5):
            try:
                bench.boot(*again, kill_after=hop)
            except Killed:
                kills += 1
            else:
                bench.kill()
        bench.boot(*again)
        assert [bench.sql(query) for query in EVERYTHING] == wanted, hop
        bench.close()
        if kills == 0:
            return
    pytest.fail("the start never came to its end")


def test_a_process_that_was_stopped_for_hours_records_what_it_missed_and_catches_up_once(tmp_path: Path) -> None:
    """Fault 38: the signal STOP, and hours later CONT."""
    house = House(tmp_path)

    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(10 * 60)  # 14:35
        clock.pass_by(3 * HOUR)
        await clock.sleep(31)
        await clock.sleep(26 * 60)  # 18:01

    house.live(story, VirtualClock(START))
    assert house.slots() == [
        ("14:30", 1, "ran"),
        ("15:00", 5, "coalesced"),
        ("17:30", 1, "caught_up"),
        ("18:00", 1, "ran"),
    ]
    assert house.runs() == ["14:30", "17:30", "18:00"]


@pytest.mark.parametrize(
    ("start", "cron"), [("2027-03-12T17:00:00Z", "30 2 * * *"), ("2027-11-05T17:00:00Z", "30 1 * * *")]
)
def test_a_daily_schedule_runs_once_on_every_date_also_where_the_clocks_change(
    tmp_path: Path, start: str, cron: str
) -> None:
    """Fault 39, with a restart in each hour."""
    bench = Bench(tmp_path, start)
    daily = a_schedule("daily", trigger={"cron": cron})
    bench.boot(daily)
    for _ in range(4 * 24):
        bench.later(HOUR)
        bench.kill()
        bench.boot(daily)
    rows = bench.sql("select due_at, slots from slot order by due_at")
    dates = [to_datetime(due_at).astimezone(ZoneInfo(ZONE)).date() for due_at, _ in rows]
    assert [slots for _, slots in rows] == [1, 1, 1, 1]
    assert [(date - dates[0]).days for date in dates] == [0, 1, 2, 3]
    assert bench.sql("select count(*) from run") == [(4,)]
    bench.close()


SLOTS_OF_A_DAY = """
from scheduler_service.clock import from_iso, to_iso
from scheduler_service.triggers import parse_trigger
trigger = parse_trigger({"cron": "30 1 * * *"}, "America/New_York")
print(*map(to_iso, trigger.between(from_iso("2027-11-06T00:00:00Z"), from_iso("2027-11-09T00:00:00Z"), 9)))
"""


@pytest.mark.parametrize(
    "environment", [{}, {"TZ": ""}, {"TZ": "Asia/Tokyo"}, {"TZ": "no such zone"}, {"PYTHONTZPATH": ""}], ids=str
)
def test_neither_the_machines_time_zone_nor_its_lack_of_a_zone_database_moves_a_slot(
    environment: dict[str, str],
) -> None:
    """Fault 40."""
    inherited = {name: value for name, value in os.environ.items() if name != "TZ"}
    command = [sys.executable, "-c", SLOTS_OF_A_DAY]
    done = subprocess.run(command, env={**inherited, **environment}, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["2027-11-06T05:30:00Z", "2027-11-07T05:30:00Z", "2027-11-08T06:30:00Z"]


def test_a_cron_of_five_thousand_terms_is_refused_unread() -> None:
    """Fault 42."""
    minutes = ",".join(str(number % 60) for number in range(5000))
    with pytest.raises(ValueError, match="the expression has 14167 characters; at most 256 are read"):
        parse_trigger({"cron": f"{minutes} * * * *"}, ZONE)


@pytest.mark.parametrize("minutes", [1, 5, 65])
def test_a_ledger_that_is_locked_while_a_slot_is_due_delays_it_until_the_next_look_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    """Fault 43."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1)
    house = House(tmp_path)

    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(4 * 60 + 50)  # 14:29:50
        with closing(sqlite3.connect(house.settings.service.data_dir / "ledger.sqlite", isolation_level=None)) as other:
            other.execute("begin immediate")
            await clock.sleep(minutes * 60)
            assert house.slots() == []
        await clock.sleep(31)
        assert house.covered()[-1] == clock.now() - clock.now() % (30 * MINUTE)

    house.live(story, VirtualClock(START))
    first = from_iso("2026-11-23T14:30:00Z")
    assert house.covered() == list(range(first, house.covered()[-1] + 1, 30 * MINUTE))
    assert len(house.runs()) == 1


def test_a_slot_and_three_people_who_want_the_same_at_once_make_one_request(tmp_path: Path) -> None:
    """Fault 47."""

    async def story(clock: VirtualClock) -> Counter[str]:
        upstream = SandboxUpstream(clock, latency=2)
        transport = MemoryTransport(upstream, clock)
        service = BackgroundScheduler(sandbox_settings(tmp_path / "a"), clock=clock, transport=transport, web=False)
        await service.start()
        await clock.sleep(35 * 60 - 0.5)
        before = len(upstream.seen)
        for _ in range(3):
            await service.dispatcher.fetch("news", ["AAPL"], ["feeds"], force=False)
        await clock.sleep(3 * 60)
        await service.stop()
        return Counter(seen.path for seen in list(upstream.seen)[before:])

    asked = run(story, start=START)
    assert len(asked) == 2
    assert set(asked.values()) == {1}


@pytest.mark.parametrize("seconds", [2, 50])
def test_a_slot_that_comes_while_nothing_can_run_is_run_afterwards(tmp_path: Path, seconds: int) -> None:
    """Fault 49."""
    house = House(tmp_path)

    async def story(service: BackgroundScheduler, clock: VirtualClock) -> None:
        await clock.sleep(5 * 60 - 1)
        clock.pass_by(seconds * SECOND)
        await clock.sleep(2)
        assert house.runs() == ["14:30"]
        await clock.sleep(60)

    house.live(story, VirtualClock(START))
    assert house.slots() == [("14:30", 1, "ran")]
