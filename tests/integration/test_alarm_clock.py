"""The alarm clock on a real SQLite file, on a loop whose time passes only when nothing else is to be done."""

from __future__ import annotations

import asyncio
import logging
import math
import pickle
import selectors
import sqlite3
import stat
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduler_service.alarm_clock import Alarm, AlarmClock
from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, Instant, from_iso, to_datetime
from scheduler_service.job_store import AlarmTrigger, JobStore, job_options
from scheduler_service.models import Event
from scheduler_service.triggers import Trigger, parse_trigger

START = from_iso("2031-03-03T14:30:00Z")


class VirtualClock:
    """Follows the virtual loop; ``jump`` sets the wall clock alone, as an administrator does."""

    def __init__(self) -> None:
        self.elapsed = 0
        self._wall = START

    def now(self) -> Instant:
        return self._wall + self.elapsed

    def monotonic(self) -> float:
        return self.elapsed / SECOND

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jump(self, micros: int) -> None:
        self._wall += micros


class _Selector(selectors.SelectSelector):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing is left that could happen"
        self._clock.elapsed += max(0, math.ceil(timeout * SECOND - 0.01))
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self._virtual = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._virtual.monotonic()


class Bench:
    """An alarm clock, and what came out of it. ``rings``: (schedule, instant)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock()
        self.rings: list[tuple[str, Instant]] = []
        self.events: list[Event] = []
        self.alarms = self.another()

    def another(self) -> AlarmClock:
        return AlarmClock(self.path, self.clock, self._ring, self.publish)

    def _ring(self, schedule_id: str) -> None:
        self.rings.append((schedule_id, self.clock.now()))

    def publish(self, event: Event) -> None:
        self.events.append(event)

    @property
    def said(self) -> list[str]:
        return [event.name for event in self.events]

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=lambda: _Loop(self.clock)) as runner:
            try:
                runner.run(story())
            finally:
                runner.run(self._shutdown())

    async def _shutdown(self) -> None:
        self.alarms.shutdown()

    async def pass_by(self, micros: int) -> None:
        await asyncio.sleep(micros / SECOND)

    def go(self, schedules: dict[str, Alarm]) -> None:
        self.alarms.start()
        assert self.alarms.sync(schedules)
        self.alarms.resume()

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(statement, values).fetchall()

    def ids(self) -> list[str]:
        return [row[0] for row in self.sql("select id from apscheduler_jobs order by id")]

    def put(self, schedule_id: object, next_run_time: object, state: object) -> None:
        self.sql("insert into apscheduler_jobs values (?, ?, ?)", schedule_id, next_run_time, state)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    level = logging.getLogger("apscheduler").level
    yield Bench(tmp_path / "jobs.sqlite")
    logging.getLogger("apscheduler").setLevel(level)


def every(text: str) -> Trigger:
    return parse_trigger({"every": text}, "UTC")


def alarm(text: str, due_at: Instant | None = None) -> Alarm:
    return Alarm(every(text), due_at if due_at is not None else every(text).next(START))


def state_of(schedule_id: str, due: Instant, **changes: object) -> bytes:
    """A stored job, as this service writes it unless ``changes`` say otherwise."""
    ours = {
        "version": 1,
        "func": "scheduler_service.job_store:rung",
        "trigger": AlarmTrigger(every("1h")),
        "next_run_time": to_datetime(due),
        **job_options(schedule_id),
    }
    return pickle.dumps({**ours, **changes})


def test_it_rings_at_every_slot_by_our_clock(bench: Bench) -> None:
    async def story() -> None:
        bench.go({"news": alarm("30m"), "earnings": alarm("1h")})
        await bench.pass_by(2 * HOUR + SECOND)

    bench.run(story)
    minutes = [(schedule_id, (at - START) / MINUTE) for schedule_id, at in bench.rings]
    assert [(name, round(minute, 2)) for name, minute in sorted(minutes)] == [
        ("earnings", 30),
        ("earnings", 90),
        ("news", 30),
        ("news", 60),
        ("news", 90),
        ("news", 120),
    ]
    assert bench.events == []


def test_an_overdue_schedule_rings_once_and_at_once(bench: Bench) -> None:
    async def story() -> None:
        bench.go({"news": alarm("1m", START - 30 * DAY)})
        await bench.pass_by(SECOND)
        assert bench.rings == [("news", START)]
        assert bench.alarms.next_due("news") == START + MINUTE

    bench.run(story)


def test_a_schedule_that_is_due_once_leaves_no_job(bench: Bench) -> None:
    due = START + 10 * MINUTE

    async def story() -> None:
        bench.go(
            {
                "once": Alarm(parse_trigger({"at": "2031-03-03T14:40:00Z"}, "UTC"), due),
                "never": Alarm(every("1h"), None),
            }
        )
        assert bench.ids() == ["once"]
        await bench.pass_by(HOUR)

    bench.run(story)
    assert bench.rings == [("once", due)]
    assert bench.ids() == []


def test_a_restart_keeps_due_times_and_writes_nothing_for_what_is_unchanged(bench: Bench) -> None:
    due = START + 3 * HOUR
    schedules = {"news": alarm("1h", due), "earnings": alarm("7d")}

    async def first() -> None:
        bench.go(schedules)

    async def second() -> None:
        bench.alarms = bench.another()
        bench.alarms.start()
        assert bench.alarms.next_due("news") == due
        with closing(sqlite3.connect(bench.path)) as watcher:
            before = watcher.execute("pragma data_version").fetchone()
            assert bench.alarms.sync(schedules)
            assert watcher.execute("pragma data_version").fetchone() == before
        bench.alarms.resume()
        await bench.pass_by(due - bench.clock.now() + SECOND)

    bench.run(first)
    bench.run(second)
    assert [schedule_id for schedule_id, _ in bench.rings] == ["news"]


def test_edited_and_removed_schedules_are_stored_as_given(bench: Bench) -> None:
    async def story() -> None:
        bench.go({"news": alarm("1h"), "gone": alarm("5m"), "kept": alarm("2h")})
        assert bench.alarms.sync({"news": alarm("10m", START + 7 * MINUTE), "kept": alarm("2h"), "new": alarm("1d")})
        assert bench.ids() == ["kept", "new", "news"]
        assert bench.alarms.next_due("gone") is None
        await bench.pass_by(25 * MINUTE)

    bench.run(story)
    minutes = [(schedule_id, (at - START) // MINUTE) for schedule_id, at in bench.rings]
    assert minutes == [("news", 7), ("news", 10), ("news", 20)]


def test_paused_it_is_silent_and_stopped_for_good(bench: Bench) -> None:
    async def story() -> None:
        bench.alarms.start()
        assert bench.alarms.sync({"news": alarm("1m")})
        await bench.pass_by(5 * MINUTE)
        assert bench.rings == []
        bench.alarms.resume()
        await bench.pass_by(SECOND)
        assert len(bench.rings) == 1
        bench.alarms.pause()
        await bench.pass_by(5 * MINUTE)
        bench.alarms.resume()
        await bench.pass_by(SECOND)
        assert len(bench.rings) == 2
        bench.alarms.shutdown()
        bench.alarms.shutdown()
        await bench.pass_by(5 * MINUTE)

    bench.run(story)
    assert len(bench.rings) == 2


def test_it_notices_a_clock_set_forward_within_one_nap_and_doubles_nothing_when_set_back(bench: Bench) -> None:
    async def story() -> None:
        bench.go({"news": alarm("1h")})
        await bench.pass_by(MINUTE)
        bench.clock.jump(2 * HOUR)
        await bench.pass_by(31 * SECOND)
        assert len(bench.rings) == 1
        bench.clock.jump(-2 * HOUR)
        await bench.pass_by(HOUR)
        assert len(bench.rings) == 1

    bench.run(story)


def test_its_naps_do_not_ask_the_store_and_show_that_it_lives(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[datetime] = []

    def get_due_jobs(store: JobStore, now: datetime) -> list[object]:
        asked.append(now)
        return []

    monkeypatch.setattr(JobStore, "get_due_jobs", get_due_jobs)

    async def story() -> None:
        bench.go({"weekly": alarm("7d")})
        for _ in range(60):
            await bench.pass_by(MINUTE)
            assert bench.clock.monotonic() - bench.alarms.last_progress <= 30.0

    bench.run(story)
    assert len(asked) <= 2


def test_a_store_that_cannot_be_written_delays_nothing_else_and_is_used_again_when_it_can(bench: Bench) -> None:
    async def story() -> None:
        bench.go({"news": alarm("30m")})
        with closing(sqlite3.connect(bench.path, isolation_level=None)) as other:
            other.execute("begin immediate")
            await bench.pass_by(31 * MINUTE)
            assert len(bench.rings) >= 1
            assert bench.said == ["alarm_clock.store_failed"]
            assert bench.clock.monotonic() - bench.alarms.last_progress <= 30.0
            other.execute("rollback")
        await bench.pass_by(MINUTE)
        assert bench.said == ["alarm_clock.store_failed", "alarm_clock.store_recovered"]
        assert bench.alarms.next_due("news") == START + HOUR
        bench.rings.clear()
        await bench.pass_by(29 * MINUTE)
        assert len(bench.rings) == 1

    bench.run(story)


def test_a_locked_store_at_start_stops_nothing_and_is_healed_later(bench: Bench) -> None:
    async def story() -> None:
        with closing(sqlite3.connect(bench.path, isolation_level=None)) as other:
            other.execute("create table other (x)")
            other.execute("begin exclusive")
            bench.alarms.start()
            assert not bench.alarms.sync({"news": alarm("30m")})
            bench.alarms.resume()
            await bench.pass_by(SECOND)
            assert not bench.alarms.heal()
            assert bench.alarms.next_due("news") is None
            other.execute("rollback")
        assert bench.alarms.heal()
        await bench.pass_by(HOUR + MINUTE)

    bench.run(story)
    assert [schedule_id for schedule_id, _ in bench.rings] == ["news", "news"]
    assert bench.said == ["alarm_clock.store_failed", "alarm_clock.store_recovered"]


GOOD_HEADER = b"SQLite format 3\x00\x10\x00\x01\x01\x00\x40\x20\x20"


@pytest.mark.parametrize(
    "content",
    [b"", b"not a database at all" * 400, GOOD_HEADER + b"\xa5" * 9000, b"\x00" * 8192],
    ids=["empty", "garbage", "good header", "zeros"],
)
def test_a_corrupt_file_is_moved_aside_and_built_again(bench: Bench, content: bytes) -> None:
    """Fault 44."""
    bench.path.write_bytes(content)

    async def story() -> None:
        bench.go({"news": alarm("30m")})
        await bench.pass_by(31 * MINUTE)

    bench.run(story)
    assert bench.said == ["alarm_clock.rebuilt"]
    assert Path(bench.events[0].fields["moved_to"]).read_bytes() == content
    assert [schedule_id for schedule_id, _ in bench.rings] == ["news"]
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o600


def test_tables_that_are_not_ours_are_moved_aside(bench: Bench) -> None:
    bench.sql("create table apscheduler_jobs (name text)")

    async def story() -> None:
        bench.go({"news": alarm("30m")})
        assert bench.ids() == ["news"]

    bench.run(story)
    assert bench.said == ["alarm_clock.rebuilt"]


def test_a_file_that_breaks_while_in_use_is_built_again_by_heal(bench: Bench) -> None:
    async def story() -> None:
        bench.go({"news": alarm("30m")})
        bench.sql("drop table apscheduler_jobs")
        await bench.pass_by(31 * MINUTE)
        assert bench.said == ["alarm_clock.store_failed"]
        assert bench.alarms.heal()
        assert bench.alarms.next_due("news") == START + HOUR

    bench.run(story)
    assert bench.said[-1] == "alarm_clock.store_recovered"


def test_a_lost_file_is_built_again(bench: Bench) -> None:
    async def first() -> None:
        bench.go({"news": alarm("30m")})

    async def second() -> None:
        bench.alarms = bench.another()
        bench.go({"news": alarm("30m")})
        assert bench.ids() == ["news"]

    bench.run(first)
    bench.path.unlink()
    bench.run(second)
    assert bench.events == []


def test_only_the_owner_can_read_the_file_and_its_companions(bench: Bench) -> None:
    async def story() -> None:
        bench.go({"news": alarm("30m")})
        files = list(bench.path.parent.iterdir())
        assert {file.suffix for file in files} == {".sqlite", ".sqlite-wal", ".sqlite-shm"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    bench.run(story)


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


class Blank(AlarmTrigger):
    """Pickles as an ``AlarmTrigger`` without content."""

    def __reduce__(self) -> tuple[Any, ...]:
        return AlarmTrigger.__new__, (AlarmTrigger,)


DUE = START + MINUTE
FOREIGN: dict[str, Callable[[Path], bytes]] = {
    "a pickle that runs code": lambda marker: pickle.dumps(Bomb(marker)),
    "one inside a job": lambda marker: state_of("bad", DUE, kwargs={"x": Bomb(marker)}),
    "another function": lambda marker: state_of("bad", DUE, func="os:system", args=(f"touch {marker}",)),
    "our arguments for another function": lambda _: state_of("bad", DUE, func="os:system"),
    "a bound method": lambda _: state_of("bad", DUE, func="pathlib:Path.touch"),
    "other arguments": lambda _: state_of("bad", DUE, args=("other",)),
    "another id": lambda _: state_of("other", DUE),
    "another executor": lambda _: state_of("bad", DUE, executor="processpool"),
    "a foreign key": lambda _: state_of("bad", DUE, extra=1),
    "another time than its column": lambda _: state_of("bad", DUE + HOUR),
    "no time": lambda _: state_of("bad", DUE, next_run_time=None),
    "a time without a zone": lambda _: state_of("bad", DUE, next_run_time=to_datetime(DUE).replace(tzinfo=None)),
    "no trigger": lambda _: state_of("bad", DUE, trigger=None),
    "a trigger without content": lambda _: state_of("bad", DUE, trigger=Blank(every("1h"))),
    "half a job": lambda _: state_of("bad", DUE)[:60],
    "a list": lambda _: pickle.dumps([1]),
    "too much": lambda _: pickle.dumps("x" * 100_000),
    "nothing": lambda _: b"",
    "noise": lambda _: bytes(range(256)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_row_we_did_not_write_is_set_aside_and_nothing_of_it_runs(bench: Bench, tmp_path: Path, kind: str) -> None:
    """Fault 45."""
    marker = tmp_path / "marker"
    state = FOREIGN[kind](marker)

    async def story() -> None:
        bench.go({"news": alarm("30m")})
        bench.put("bad", DUE / SECOND, state)
        bench.alarms.pause()
        bench.alarms.resume()  # looks again
        await bench.pass_by(HOUR + MINUTE)
        assert bench.alarms.set_aside == {"bad"}
        assert bench.alarms.heal()
        assert bench.alarms.sync({"news": alarm("30m", bench.alarms.next_due("news"))})

    bench.run(story)
    assert not marker.exists()
    assert bench.sql("select next_run_time, job_state from apscheduler_jobs where id = 'bad'") == [(None, state)]
    assert [schedule_id for schedule_id, _ in bench.rings] == ["news", "news"]
    assert bench.said == ["alarm_clock.row_set_aside"]


@pytest.mark.parametrize(
    ("schedule_id", "next_run_time", "state"),
    [
        (b"\xff\xfe", 1.0, b"x"),
        ("text", "soon", "text"),
        ("number", 1e300, 10**12),
        ("null", None, b""),
    ],
    ids=["bytes", "text", "numbers", "nulls"],
)
def test_values_of_any_type_are_set_aside_at_sync(
    bench: Bench, schedule_id: object, next_run_time: object, state: object
) -> None:
    async def first() -> None:
        bench.go({"news": alarm("30m")})

    async def second() -> None:
        bench.alarms = bench.another()
        bench.go({"news": alarm("30m")})
        await bench.pass_by(31 * MINUTE)

    bench.run(first)
    bench.put(schedule_id, next_run_time, state)
    bench.run(second)
    assert bench.said == ["alarm_clock.row_set_aside"]
    assert [rung for rung, _ in bench.rings] == ["news"]
    assert bench.sql("select count(*), count(next_run_time) from apscheduler_jobs") == [(2, 1)]


def test_the_damaged_row_of_a_schedule_is_written_again_by_heal(bench: Bench) -> None:
    async def story() -> None:
        bench.go({"news": alarm("30m"), "earnings": alarm("30m")})
        bench.sql("update apscheduler_jobs set job_state = ? where id = 'news'", b"\x80damaged")
        await bench.pass_by(31 * MINUTE)
        assert bench.rings == [("earnings", START + 30 * MINUTE)]
        assert bench.alarms.set_aside == {"news"}
        assert bench.alarms.heal()
        assert bench.alarms.set_aside == frozenset()
        await bench.pass_by(30 * MINUTE)

    bench.run(story)
    assert sorted(bench.rings[1:]) == [("earnings", START + HOUR), ("news", START + HOUR)]


def test_the_damaged_row_of_a_schedule_is_written_again_by_sync(bench: Bench) -> None:
    async def first() -> None:
        bench.go({"news": alarm("30m")})

    async def second() -> None:
        bench.alarms = bench.another()
        bench.go({"news": alarm("30m")})
        assert bench.alarms.set_aside == frozenset()
        assert bench.alarms.next_due("news") == START + 30 * MINUTE

    bench.run(first)
    bench.sql("update apscheduler_jobs set job_state = x'00'")
    bench.run(second)


class Broken:
    interval = None

    def next(self, after: Instant) -> Instant | None:
        raise OverflowError(after)


def test_a_trigger_that_fails_is_looked_at_again_later() -> None:
    now = datetime(2031, 3, 3, tzinfo=UTC)
    broken: Any = Broken()
    assert AlarmTrigger(broken).get_next_fire_time(None, now) == now + timedelta(hours=1)


def test_a_trigger_of_apscheduler_never_looks_back() -> None:
    now = to_datetime(START)
    adapter = AlarmTrigger(every("1m"))
    assert adapter.get_next_fire_time(now - timedelta(days=3000), now) == now + timedelta(minutes=1)
    assert adapter.get_next_fire_time(now + timedelta(hours=1), now) == now + timedelta(minutes=61)
    assert pickle.loads(pickle.dumps(adapter)).trigger == every("1m")


def test_a_ring_that_raises_stops_no_other(bench: Bench) -> None:
    def ring(schedule_id: str) -> None:
        bench.rings.append((schedule_id, bench.clock.now()))
        raise RuntimeError(schedule_id)

    bench.alarms = AlarmClock(bench.path, bench.clock, ring, bench.publish)

    async def story() -> None:
        bench.go({"a": alarm("30m"), "b": alarm("30m")})
        await bench.pass_by(HOUR + MINUTE)

    bench.run(story)
    assert len(bench.rings) == 4


def test_apscheduler_does_not_log_every_run(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def story() -> None:
        bench.go({"news": alarm("30m")})
        await bench.pass_by(HOUR + MINUTE)

    bench.run(story)
    assert len(bench.rings) == 2
    assert [record for record in caplog.records if record.name.startswith("apscheduler")] == []


def test_a_directory_that_cannot_be_used_is_reported_and_stops_nothing(bench: Bench) -> None:
    bench.alarms = AlarmClock(bench.path.parent / "missing" / "jobs.sqlite", bench.clock, print, bench.publish)

    async def story() -> None:
        bench.alarms.start()
        assert not bench.alarms.sync({"news": alarm("30m")})
        bench.alarms.resume()
        await bench.pass_by(HOUR)
        assert not bench.alarms.heal()
        assert bench.clock.monotonic() - bench.alarms.last_progress <= 30.0

    bench.run(story)
    assert bench.said == ["alarm_clock.store_failed"]


def test_a_file_overwritten_while_in_use_is_built_again(bench: Bench) -> None:
    async def story() -> None:
        bench.go({f"news-{n}": alarm("30m") for n in range(30)})
        await bench.pass_by(31 * MINUTE)
        assert len(bench.rings) == 30
        for file in bench.path.parent.iterdir():
            file.write_bytes(b"overwritten" * 5000)
        for _ in range(60):
            await bench.pass_by(MINUTE)
            bench.alarms.heal()
        assert len(bench.ids()) == 30

    bench.run(story)
    assert "alarm_clock.rebuilt" in bench.said
    assert len({schedule_id for schedule_id, at in bench.rings if at > START + HOUR}) == 30
