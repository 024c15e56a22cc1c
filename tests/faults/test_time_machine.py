"""A machine whose clock, process, disk and configuration misbehave in any order: every slot of every definition that
was in force is recorded once, by a list of slots made without the program's own triggers.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from bisect import bisect_right
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scheduler_service import slots
from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, Instant, Micros, from_iso, to_datetime, to_iso
from scheduler_service.clock_watch import ClockWatch
from scheduler_service.errors import ConfigurationError, SchedulerServiceError
from scheduler_service.models import SlotOutcome
from scheduler_service.stores import database, wrong_clock
from scheduler_service.triggers import parse_trigger
from tests.integration.scheduling_bench import Bench
from tests.unit.settings_support import NEWS, load_text
from tests.virtual_time import Killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scheduler_service.settings.loaded import Schedule

ZONE = "America/New_York"
AT = "at "
STARTS = ("2027-03-13T22:10:00Z", "2027-11-06T21:50:00Z")
"""The evenings before New York's clocks go forward and back."""
IDS = ("a", "b", "c")
FOLLOW_UPS = ("after-a", "after-b")
CARRIED_OUT = ("ran", "caught_up")
WINDOWS = {"10m": 10 * MINUTE, "1d": DAY}
BROKEN = ("trigger: {every: 0s}", "trigger: {cron: '0 0 31 2 *'}", "trigger: {every: 1h}, catch_up: [", "trigger: 5")


class Wall(NamedTuple):
    """A minute, and what a clock in New York shows then. ``ordinal``: minutes since 1970 in UTC."""

    ordinal: int
    shows: datetime
    before: datetime


def _every_17_minutes(wall: Wall) -> bool:
    return (wall.ordinal - 5 * 60) % 17 == 0  # counted from New York's midnight, which was at five in 1970


def _daily(*times: tuple[int, int]) -> Callable[[Wall], bool]:
    """The first minute of a date at which the clock shows such a time or, where it is skipped, a later one."""

    wanted = [60 * hour + minute for hour, minute in times]

    def due(wall: Wall) -> bool:
        shows, before = (60 * moment.hour + moment.minute for moment in (wall.shows, wall.before))
        before = before if wall.before.day == wall.shows.day else -1
        return not wall.shows.fold and any(before < time <= shows for time in wanted)

    return due


def _office_hours(wall: Wall) -> bool:
    return wall.shows.weekday() < 5 and 8 <= wall.shows.hour < 18


def _session(wall: Wall) -> bool:
    return wall.shows.weekday() < 5 and 9 * 60 + 30 <= wall.shows.hour * 60 + wall.shows.minute < 16 * 60


IS_DUE: dict[str, Callable[[Wall], bool]] = {
    "trigger: {every: 1m}": lambda wall: True,
    "trigger: {every: 17m}": _every_17_minutes,
    "trigger: {cron: '30 1 * * *'}": _daily((1, 30)),
    "trigger: {cron: '30 2 * * *'}": _daily((2, 30)),
    "trigger: {cron: '*/20 0-3 * * *'}": _daily(*((hour, minute) for hour in range(4) for minute in (0, 20, 40))),
    "trigger: {cron: '0,30 0-23 * * *'}": lambda wall: wall.shows.minute % 30 == 0,
    "trigger: {every: 17m}, during: {days: mon-fri, hours: '08:00-18:00'}": (
        lambda wall: _every_17_minutes(wall) and _office_hours(wall)
    ),
    "trigger: {every: 17m}, during: {market: XNYS}": lambda wall: _every_17_minutes(wall) and _session(wall),
}


@cache
def walls(start: str) -> list[Wall]:
    """Every minute from two months before to five months after."""
    zone, origin = ZoneInfo(ZONE), from_iso(start) // MINUTE
    ordinals = range(origin - 60 * 1440, origin + 150 * 1440)
    shown = [datetime.fromtimestamp(ordinal * 60, UTC).astimezone(zone) for ordinal in (ordinals[0] - 1, *ordinals)]
    return [Wall(*both) for both in zip(ordinals, shown[1:], shown[:-1], strict=True)]


@cache
def all_slots(start: str, spec: str) -> list[Instant]:
    if spec.startswith(AT):
        return [int(spec.removeprefix(AT))]
    return [wall.ordinal * MINUTE for wall in walls(start) if IS_DUE[spec](wall)]


@dataclass(frozen=True)
class Written:
    """A schedule as the configuration has it."""

    spec: str
    catch_up: str
    window: str
    overlap: str

    def line(self, schedule_id: str) -> str:
        policy = f"catch_up: {self.catch_up}, catch_up_window: {self.window}, overlap: {self.overlap}"
        return f"  - {{id: {schedule_id}, domain: news, {self.spec}, {policy}}}\n"


@dataclass
class Era:
    """A stretch (since, until] of a schedule's life under one trigger; until None: it goes on."""

    spec: str
    since: Instant
    until: Instant | None = None


class Paused(NamedTuple):
    """As the ledger has it at one moment."""

    scope: str
    since: Instant
    until: Instant | None
    ended_at: Instant | None

    def concerns(self, schedule_id: str, row: Row) -> bool:
        """Whether it decided on the row: what ended under a clock that was ahead is over already."""
        return self.scope in ("*", schedule_id) and not (self.ended_at is not None and self.ended_at > row.recorded_at)

    def covers(self, slot: Instant, row: Row) -> bool:
        """One that has begun under a clock that was ahead holds for all that is written meanwhile."""
        end = self.until if self.ended_at is None else self.ended_at
        began = self.since <= slot or (self.since > row.recorded_at and self.ended_at is None)
        return began and (end is None or slot < end)


class Row(NamedTuple):
    due_at: Instant
    until_at: Instant
    slots: int
    outcome: str
    reason: str | None
    run_id: int | None
    recorded_at: Instant


WRITTEN = st.builds(
    Written,
    st.sampled_from(sorted(IS_DUE)),
    st.sampled_from(["latest", "none", "all"]),
    st.sampled_from(sorted(WINDOWS)),
    st.sampled_from(["skip", "queue"]),
)
KILL = st.none() | st.none() | st.integers(1, 25)


class TimeMachine(RuleBasedStateMachine):
    """``configured``: what the YAML says. ``eras``: what each schedule has been, oldest first. ``runs``: every run
    there has ever been, by schedule and slot. ``estimated``: rows that were cut when their definition was forgotten.
    ``pauses``: as they stood before the last step and after it, by scope and beginning.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.patches = pytest.MonkeyPatch()
        for module, name, value in (
            (database, "BUSY_TIMEOUT_MS", 1),
            (slots, "RUNS_PER_PLAN", 4),
            (slots, "MOST_CAUGHT_UP", 11),
            (wrong_clock, "void_slots", self._void_slots),
            (wrong_clock, "_in_proportion", self._in_proportion),
        ):
            self.patches.setattr(module, name, value)
        self.configured: dict[str, Written] = {}
        self.eras: dict[str, list[Era]] = {schedule_id: [] for schedule_id in (*IDS, *FOLLOW_UPS)}
        self.specs = {s.trigger.canonical(): spec for spec, s in parsed().items()}
        self.known: dict[str, tuple[Instant, Instant | None, dict[str, Any]]] = {}
        self.healed: list[tuple[str, Instant]] = []
        self.estimated: set[tuple[str, Instant]] = set()
        self.runs: dict[tuple[str, Instant], int] = {}
        self.judged: set[tuple[str, Instant, Instant]] = set()
        self.pauses: tuple[dict[tuple[str, Instant], Paused], dict[tuple[str, Instant], Paused]] = ({}, {})
        self.locked = self.stepped = False

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.close()
        self.patches.undo()
        self.folder.cleanup()

    # what happens

    @initialize(start=st.sampled_from(STARTS), written=st.tuples(WRITTEN, WRITTEN, WRITTEN), kill_after=KILL)
    def first_start(self, start: str, written: tuple[Written, ...], kill_after: int | None) -> None:
        self.start = start
        self.bench = Bench(self.path, start)
        self.configured = dict(zip(IDS, written, strict=True))
        self.boot(kill_after)

    @rule(
        micros=st.one_of(
            st.integers(0, 3 * HOUR),
            st.sampled_from([MINUTE - SECOND, 17 * MINUTE, 9 * HOUR, DAY, 3 * DAY]),
        )
    )
    def time_passes(self, micros: Micros) -> None:
        self.bench.later(micros)

    @rule(micros=st.sampled_from([-2 * DAY, -3 * HOUR, -HOUR, -17 * MINUTE, -3 * SECOND, 1, HOUR, 5 * HOUR, 2 * DAY]))
    def the_clock_is_set(self, micros: Micros) -> None:
        self.bench.clock.jump(micros)

    @precondition(lambda self: self.bench.life is not None)
    @rule(kill_after=KILL)
    def the_sweep_looks(self, kill_after: int | None) -> None:
        began = self.bench.now
        with self.step():
            self.stepped |= self.watch.stepped()
            if self.stepped:
                self.bench.do(self.bench.dispatcher.clock_stepped())
                self.stepped = False
            self.bench.sweep(kill_after=kill_after)
            self.note()
            self.all_is_recorded_until(began)

    @precondition(lambda self: self.bench.life is not None and not self.locked)
    @rule(ahead=st.sampled_from([20 * MINUTE, 5 * HOUR, 2 * DAY]), then=st.sampled_from([0, MINUTE, HOUR, 2 * DAY]))
    def the_clock_is_ahead_for_a_while(self, ahead: Micros, then: Micros) -> None:
        for micros in (ahead, -ahead):
            self.the_clock_is_set(micros)
            self.the_sweep_looks(None)
        self.time_passes(then)
        self.the_sweep_looks(None)

    @precondition(lambda self: self.bench.life is not None)
    @rule(schedule_id=st.sampled_from(IDS), kill_after=KILL)
    def an_alarm_rings(self, schedule_id: str, kill_after: int | None) -> None:
        with self.step():
            self.bench.do(self.bench.dispatcher.reconcile(schedule_id), kill_after=kill_after)

    @precondition(lambda self: self.bench.life is not None)
    @rule()
    def everything_rings_at_once(self) -> None:
        async def ring() -> None:
            await asyncio.gather(*(self.bench.dispatcher.reconcile(name) for name in IDS * 3))

        with self.step():
            self.bench.do(ring())

    @precondition(lambda self: self.bench.life is not None)
    @rule(scope=st.sampled_from(["*", *IDS]), length=st.none() | st.integers(0, DAY), kill_after=KILL)
    def somebody_pauses(self, scope: str, length: Micros | None, kill_after: int | None) -> None:
        until = None if length is None else self.bench.now + length
        with self.step():
            self.bench.do(self.bench.dispatcher.pause(scope, until), kill_after=kill_after)

    @precondition(lambda self: self.bench.life is not None)
    @rule(scope=st.sampled_from(["*", *IDS]), kill_after=KILL)
    def somebody_resumes(self, scope: str, kill_after: int | None) -> None:
        with self.step():
            self.bench.do(self.bench.dispatcher.resume(scope), kill_after=kill_after)

    @precondition(lambda self: self.bench.life is not None and not self.locked)
    @rule(
        scope=st.sampled_from(["*", *IDS]),
        length=st.sampled_from([None, 2 * HOUR]),
        micros=st.sampled_from([-DAY, -HOUR, -3 * SECOND, HOUR]),
        resumed=st.booleans(),
        kill_after=KILL,
    )
    def the_clock_is_set_during_a_pause_or_after_it(
        self, scope: str, length: Micros | None, micros: Micros, resumed: bool, kill_after: int | None
    ) -> None:
        self.somebody_pauses(scope, length, None)
        if resumed:
            self.time_passes(17 * MINUTE)
            self.somebody_resumes(scope, None)
        self.the_clock_is_set(micros)
        self.the_sweep_looks(kill_after)
        if self.bench.life is not None:
            open_ones = [p for p in self.pauses[1].values() if p.scope == scope and p.ended_at is None]
            assert len(open_ones) == (not resumed), "a person's wish is neither lost nor made anew by a clock"
            for paused in open_ones:
                assert paused.since <= self.bench.now
                assert paused.until == (None if length is None else paused.since + length)

    @precondition(lambda self: self.bench.life is not None)
    @rule(
        follow_up=st.sampled_from(FOLLOW_UPS),
        ahead=st.sampled_from([SECOND, 40 * MINUTE, 5 * HOUR, 2 * DAY]),
        written=WRITTEN,
        kill_after=KILL,
    )
    def something_is_to_be_followed_up(
        self, follow_up: str, ahead: Micros, written: Written, kill_after: int | None
    ) -> None:
        due = (self.bench.now + ahead) // SECOND * SECOND + len(self.specs)  # no two are due at the same time
        trigger = parse_trigger({"at": to_iso(due)}, ZONE)
        self.specs[trigger.canonical()] = f"{AT}{due}"
        like = replace(parsed()["trigger: {every: 1m}"], overlap=written.overlap, catch_up=written.catch_up)
        window = WINDOWS[written.window]
        wanted = replace(like, id=follow_up, domain="words", trigger=trigger, catch_up_window=window)
        with self.step():
            self.bench.do(self.bench.dispatcher.add_follow_up(wanted), kill_after=kill_after)

    @precondition(lambda self: self.bench.life is not None)
    @rule(follow_up=st.sampled_from(FOLLOW_UPS), kill_after=KILL)
    def it_is_not_to_be_followed_up_any_more(self, follow_up: str, kill_after: int | None) -> None:
        with self.step():
            self.bench.do(self.bench.dispatcher.close_follow_up(follow_up), kill_after=kill_after)

    @precondition(lambda self: self.bench.life is not None and not self.locked)
    @rule()
    def workers_work(self) -> None:
        with self.step():
            self.bench.work()

    @precondition(lambda self: self.bench.life is not None)
    @rule(offline=st.sampled_from([0, 40 * MINUTE, 2 * DAY]), kill_after=KILL)
    def it_starts_again_with_the_same_configuration(self, offline: Micros, kill_after: int | None) -> None:
        self.bench.kill()
        self.bench.later(offline)
        self.boot(kill_after)

    @precondition(lambda self: self.bench.life is not None and not self.locked)
    @rule(schedule_id=st.sampled_from(IDS), written=WRITTEN | st.none(), kill_after=KILL)
    def it_starts_again_with_another_one(
        self, schedule_id: str, written: Written | None, kill_after: int | None
    ) -> None:
        self.bench.stop()
        self.configured.pop(schedule_id, None)
        if written is not None:
            self.configured[schedule_id] = written
        self.boot(kill_after)

    @precondition(lambda self: self.bench.life is not None and not self.locked and self.configured)
    @rule(data=st.data(), catch_up=st.sampled_from(["latest", "none", "all"]))
    def it_starts_again_with_another_policy(self, data: st.DataObject, catch_up: str) -> None:
        self.bench.stop()
        schedule_id = data.draw(st.sampled_from(sorted(self.configured)))
        self.configured[schedule_id] = replace(self.configured[schedule_id], catch_up=catch_up)
        self.boot(None)

    @precondition(lambda self: self.bench.life is not None and not self.locked)
    @rule(broken=st.sampled_from(BROKEN), offline=st.integers(0, 3 * HOUR))
    def it_does_not_start_with_a_broken_one(self, broken: str, offline: Micros) -> None:
        self.bench.stop()
        self.bench.later(offline)
        with pytest.raises(ConfigurationError):
            load_text(self.path, f"{NEWS}schedules:\n  - {{id: a, domain: news, {broken}}}\n")

    @precondition(lambda self: self.bench.life is None)
    @rule(kill_after=KILL)
    def it_starts(self, kill_after: int | None) -> None:
        self.boot(kill_after)

    @precondition(lambda self: self.bench.path.exists() and not self.locked)
    @rule()
    def another_program_locks_the_ledger(self) -> None:
        self.bench.lock()
        self.locked = True

    @precondition(lambda self: self.locked)
    @rule()
    def the_ledger_is_free_again(self) -> None:
        self.bench.unlock()
        self.locked = False

    def boot(self, kill_after: int | None) -> None:
        lines = "".join(written.line(schedule_id) for schedule_id, written in self.configured.items())
        text = f"service: {{timezone: {ZONE}}}\n{NEWS}" + (f"schedules:\n{lines}" if lines else "")
        wanted: list[Schedule] = [replace(s, domain="words") for s in load_text(self.path, text).schedules]
        self.stepped, began = False, self.bench.now
        self.watch = ClockWatch(self.bench.clock, self.bench.publish)
        with self.step():
            self.bench.boot(*wanted, watch=("AAPL", "NVDA"), kill_after=kill_after)
            self.note()
            self.all_is_recorded_until(began)
            in_force = {name: eras[-1].spec for name, eras in self.eras.items() if eras and eras[-1].until is None}
            in_force = {name: spec for name, spec in in_force.items() if name in IDS}
            assert in_force == {name: written.spec for name, written in self.configured.items()}

    @contextmanager
    def step(self) -> Iterator[None]:
        """What a kill or a lock may cut off."""
        try:
            yield
        except Killed:
            pass
        except SchedulerServiceError:
            assert self.locked
        self.note()

    # what the ledger says of the schedules, and what a clock that is right again takes back

    def note(self) -> None:
        pauses = (Paused(*row) for row in self.rows("select scope, since, until, ended_at from pause"))
        self.pauses = self.pauses[1], {(p.scope, p.since): p for p in pauses}
        query = "select id, effective_from, cursor, closed_at, definition from schedule"
        for schedule_id, since, cursor, closed_at, definition in self.rows(query):
            eras, said = self.eras[schedule_id], json.loads(definition)
            last_cursor, last_closed, last_said = self.known.get(schedule_id, (0, None, said))
            for healed, now in self.healed:
                if healed == schedule_id and (cursor < last_cursor or closed_at != last_closed):
                    self.take_back(eras, now)
            spec = self.specs[said["trigger"]]
            reopened = bool(eras) and eras[-1].until is not None and closed_at is None
            if reopened and (eras[-1].since, eras[-1].spec) == (since, spec):
                eras[-1].until = None  # its slot is still to come
            elif not eras or eras[-1].since != since or reopened:
                if eras and eras[-1].until is None:
                    eras[-1].until = since
                eras.append(Era(spec, since))
            assert eras[-1].spec == spec
            if closed_at is not None and eras[-1].until is None:
                eras[-1].until = closed_at
            self.judge(schedule_id, [said, last_said])
            self.known[schedule_id] = cursor, closed_at, said
        self.healed = []

    @staticmethod
    def take_back(eras: list[Era], now: Instant) -> None:
        for era in eras:
            era.until = None if era.until is None else min(era.until, now)
        eras[:] = [era for era in eras if era.since < now or era.until is None]
        if eras and eras[-1].until is None:
            eras[-1].since = min(eras[-1].since, now)

    def _void_slots(self, *args: Any, real: Any = wrong_clock.void_slots, **named: Any) -> Any:
        voided = real(*args, **named)
        if voided is not None:
            self.healed.append((named["row"].id, named["now"]))
        return voided

    def _in_proportion(self, stretch: Any, now: Instant, real: Any = wrong_clock._in_proportion) -> Any:
        self.estimated.add((stretch.schedule_id, stretch.due_at))
        return real(stretch, now)

    # what must hold

    @invariant()
    def every_slot_is_recorded_exactly_once(self) -> None:
        for schedule_id, (cursor, _, _) in self.known.items():
            recorded: list[Instant] = []
            last = 0
            for row in self.slots(schedule_id):
                assert last < row.due_at <= row.until_at, "rows do not overlap"
                last = row.until_at
                inside = self.expected(schedule_id, row.due_at - 1, row.until_at)
                if not inside and (schedule_id, row.due_at) in self.runs:
                    assert row.slots == 1
                    continue  # done under a definition that came with a wrong clock, and went with it
                if (schedule_id, row.due_at) in self.estimated:
                    assert inside[0] == row.due_at
                else:
                    assert (len(inside), inside[0], inside[-1]) == (row.slots, row.due_at, row.until_at)
                recorded += inside
            assert [slot for slot in recorded if slot <= cursor] == self.expected(schedule_id, 0, cursor)

    @invariant()
    def a_slot_has_one_run_for_ever(self) -> None:
        found = self.rows("select schedule_id, due_at, id from run where schedule_id is not null order by id")
        now = {(schedule_id, due_at): run_id for schedule_id, due_at, run_id in found}
        assert len(now) == len(found)
        assert now.items() >= self.runs.items()
        self.runs = now
        done = [(i, row.due_at, row.run_id) for i in self.eras for row in self.slots(i) if row.outcome in CARRIED_OUT]
        assert sorted(done) == sorted((*key, run_id) for key, run_id in now.items())

    def all_is_recorded_until(self, began: Instant) -> None:
        """After a look at everything that nothing has cut off."""
        for schedule_id in [name for name, eras in self.eras.items() if eras and eras[-1].until is None]:
            cursor, _, _ = self.known[schedule_id]
            assert self.expected(schedule_id, cursor, began) == [], "a slot is forgotten"
        for schedule_id in self.known:
            for row in self.slots(schedule_id):
                assert row.until_at <= self.bench.now or (row.slots == 1 and row.outcome in CARRIED_OUT)

    def judge(self, schedule_id: str, policies: list[dict[str, Any]]) -> None:
        """Whether rows that are new have the fate that a policy of before or after gives them."""
        new = [r for r in self.slots(schedule_id) if (schedule_id, r.due_at, r.recorded_at) not in self.judged]
        self.judged |= {(schedule_id, row.due_at, row.recorded_at) for row in new}
        for row in new:
            assert any(is_fair(row, policy) for policy in policies), (to_datetime(row.recorded_at), row)
            self.judge_pauses(schedule_id, row)
        for _, rows in groupby(sorted(new, key=lambda r: r.recorded_at), key=lambda r: r.recorded_at):
            several = [row for row in rows if row.outcome in CARRIED_OUT]
            assert len(several) <= 1 or any(policy["catch_up"] == "all" for policy in policies)

    def judge_pauses(self, schedule_id: str, row: Row) -> None:
        """A slot is skipped for a pause that there was, and every slot of one that was in force all the time is."""
        before, after = ([p for p in known.values() if p.concerns(schedule_id, row)] for known in self.pauses)
        lasting = [p for p in after if (p.scope, p.since) in self.pauses[0]]
        for slot in self.expected(schedule_id, row.due_at - 1, row.until_at):
            if row.reason == "paused":
                assert any(paused.covers(slot, row) for paused in (*before, *after)), (slot, row, self.pauses)
            elif row.reason != "removed":
                assert not any(paused.covers(slot, row) for paused in lasting), (slot, row, self.pauses)

    # how it is known

    def expected(self, schedule_id: str, after: Instant, until: Instant) -> list[Instant]:
        """The slots in (after, until] of all definitions that were in force."""
        found: list[Instant] = []
        for era in self.eras[schedule_id]:
            low, high = max(after, era.since), until if era.until is None else min(until, era.until)
            known = all_slots(self.start, era.spec)
            found += known[bisect_right(known, low) : bisect_right(known, high)] if low < high else []
        return found

    def slots(self, schedule_id: str) -> list[Row]:
        query = (
            "select due_at, until_at, slots, outcome, reason, run_id, recorded_at from slot where schedule_id = ?"
            " order by due_at"
        )
        return [Row(*row) for row in self.rows(query, schedule_id)]

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Nothing where a kill came before the tables were made."""
        made = self.bench.path.exists() and self.bench.sql("select 1 from sqlite_master where name = 'task'")
        return self.bench.sql(query, *values) if made else []


def is_fair(row: Row, policy: dict[str, Any]) -> bool:
    """``oldest``, ``newest``: how late those slots of the row were when it was written."""
    oldest, newest, window = row.recorded_at - row.due_at, row.recorded_at - row.until_at, policy["catch_up_window"]
    match (SlotOutcome(row.outcome), row.reason):
        case (SlotOutcome.RAN, None):
            return row.slots == 1 and 0 <= newest <= MINUTE
        case (SlotOutcome.CAUGHT_UP, None):
            return row.slots == 1 and policy["catch_up"] != "none" and MINUTE < newest <= window
        case (SlotOutcome.COALESCED, "coalesced"):
            return policy["catch_up"] == "latest" and newest >= 0 and oldest <= window
        case (SlotOutcome.MISSED, "too_old"):
            return bool(newest > window if policy["catch_up"] == "latest" else policy["catch_up"] == "all")
        case (SlotOutcome.MISSED, "catch_up_none"):
            return bool(policy["catch_up"] == "none")
        case (SlotOutcome.SKIPPED, "paused" | "removed"):
            return newest >= 0
    return False


@cache
def parsed() -> dict[str, Schedule]:
    """The specs as the program reads them, to recognise what it wrote down."""
    with tempfile.TemporaryDirectory() as folder:
        lines = "".join(
            Written(spec, "latest", "1d", "skip").line(f"s{number}") for number, spec in enumerate(sorted(IS_DUE))
        )
        text = f"service: {{timezone: {ZONE}}}\n{NEWS}schedules:\n{lines}"
        return dict(zip(sorted(IS_DUE), load_text(Path(folder), text).schedules, strict=True))


TimeMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTimeMachine = pytest.mark.timeout(300)(TimeMachine.TestCase)


def test_the_list_of_slots_knows_the_days_on_which_the_clocks_change() -> None:
    def times(start: str, spec: str, day: str) -> list[str]:
        zone = ZoneInfo(ZONE)
        shown = (to_datetime(slot).astimezone(zone) for slot in all_slots(start, spec))
        return [f"{when:%H:%M}{when:%z}" for when in shown if f"{when:%Y-%m-%d}" == day]

    spring, autumn = STARTS
    assert times(spring, "trigger: {cron: '30 2 * * *'}", "2027-03-14") == ["03:00-0400"]
    assert times(autumn, "trigger: {cron: '30 1 * * *'}", "2027-11-07") == ["01:30-0400"]
    twenties = times(autumn, "trigger: {cron: '*/20 0-3 * * *'}", "2027-11-07")
    assert twenties[3:7] == ["01:00-0400", "01:20-0400", "01:40-0400", "02:00-0500"]
    halves = times(autumn, "trigger: {cron: '0,30 0-23 * * *'}", "2027-11-07")
    assert halves[2:6] == ["01:00-0400", "01:30-0400", "01:00-0500", "01:30-0500"]
