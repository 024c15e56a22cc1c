"""Every slot is accounted for exactly once and done at most once, and every task ends at most once, whatever happens
to the process, the configuration, the ledger, the clock and the pauses, and in whatever order.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scheduler_service import expansion
from scheduler_service.clock import DAY, HOUR, MINUTE, Instant, Micros, from_datetime, from_iso, to_datetime
from scheduler_service.errors import Fenced, SchedulerServiceError, StoreError
from scheduler_service.models import Outcome, Reason, Task, TaskState
from scheduler_service.settings.loaded import Schedule
from scheduler_service.stores import database, wrong_clock
from tests.integration.scheduling_bench import ZONE, Bench, a_schedule
from tests.virtual_time import Killed

if TYPE_CHECKING:
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.schedule_store import ScheduleRow
    from scheduler_service.stores.wrong_clock import Voided
    from scheduler_service.triggers import Trigger

START = from_iso("2027-11-05T17:50:00Z")  # two days before New York's clocks go back
SYMBOLS = [f"S{number}" for number in range(5)]
TASKS_PER_SLICE = 4
IDS = ("a", "b")
COMPLETED = Outcome(TaskState.COMPLETED)
EVERY, DAILY = {"every": "50m"}, {"cron": "30 1 * * *"}


def every_50_minutes(after: Instant, until: Instant) -> list[Instant]:
    """Counted from 1970-01-01T00:00 in New York, which was UTC-5."""
    first = 5 * HOUR + ((after - 5 * HOUR) // (50 * MINUTE) + 1) * 50 * MINUTE
    return list(range(first, until + 1, 50 * MINUTE))


def daily_at_half_past_one(after: Instant, until: Instant) -> list[Instant]:
    """01:30 in New York, once a date: on the seventh of November it comes twice, and the first one counts."""
    zone, found = ZoneInfo(ZONE), []
    day = to_datetime(after).astimezone(zone).date() - timedelta(days=1)
    while (due := from_datetime(datetime.combine(day, time(1, 30), zone))) <= until:
        if due > after:
            found.append(due)
        day += timedelta(days=1)
    return found


ORACLES = {repr(EVERY): every_50_minutes, repr(DAILY): daily_at_half_past_one}


@dataclass
class Era:
    """A stretch (since, until] of a schedule's life under one trigger, as the ledger dates it; None: it goes on."""

    spec: dict[str, str]
    since: Instant
    until: Instant | None = None

    def cut(self, now: Instant) -> bool:
        """A clock that had been ahead is right again; False where nothing is left of it."""
        self.until = None if self.until is None else min(self.until, now)
        return self.since < now or self.until is None

    def slots(self, after: Instant, until: Instant) -> list[Instant]:
        """Those in (after, until] that lie in this era, by the oracle."""
        low, high = max(after, self.since), until if self.until is None else min(until, self.until)
        return ORACLES[repr(self.spec)](low, high) if low < high else []


class Accounting(RuleBasedStateMachine):
    """``configured``: what the YAML says now. ``eras``: what each schedule has been so far, oldest first. ``done``: the
    slots that were carried out, for good. ``guessed``: rows whose definition was forgotten before they were cut.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(database, "BUSY_TIMEOUT_MS", 1)
        self.patches.setattr(expansion, "TASKS_PER_SLICE", TASKS_PER_SLICE)
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name), START)
        self.configured: dict[str, dict[str, str]] = {}
        self.eras: dict[str, list[Era]] = {schedule_id: [] for schedule_id in IDS}
        self.claimed: list[tuple[int, Task]] = []
        self.ended: dict[int, tuple[Any, ...]] = {}
        self.locked = False
        self.known: dict[str, tuple[Instant, Instant | None]] = {}
        self.healed: list[tuple[str, Instant]] = []
        self.done: dict[str, set[Instant]] = {schedule_id: set() for schedule_id in IDS}
        self.guessed: set[Instant] = set()
        self.pauses: set[tuple[str, Instant, Instant | None]] = set()
        self.patches.setattr(wrong_clock, "void_slots", self.void_slots)
        self.patches.setattr(wrong_clock, "_in_proportion", self.guess)

    def void_slots(
        self, conn: Connection, row: ScheduleRow, trigger: Trigger, now: Instant, real: Any = wrong_clock.void_slots
    ) -> Voided | None:
        voided: Voided | None = real(conn, row, trigger, now)
        if voided is not None:
            self.healed.append((row.id, now))
        return voided

    def guess(self, stretch: Any, now: Instant, real: Any = wrong_clock._in_proportion) -> tuple[Instant, int]:
        self.guessed.add(stretch.due_at)
        cut: tuple[Instant, int] = real(stretch, now)
        return cut

    def teardown(self) -> None:
        self.bench.close()
        self.folder.cleanup()
        self.patches.undo()

    # what happens

    @initialize(every=st.booleans(), kill_after=st.none() | st.integers(1, 10))
    def first_start(self, every: bool, kill_after: int | None) -> None:
        self.configured = {"a": EVERY if every else DAILY, "b": DAILY}
        self.start(kill_after)

    @rule(micros=st.one_of(st.integers(0, 2 * HOUR), st.sampled_from([50 * MINUTE, DAY, 3 * DAY])))
    def time_passes(self, micros: Micros) -> None:
        self.bench.later(micros)

    @rule(micros=st.sampled_from([-2 * HOUR, -90 * MINUTE, -1, 2 * HOUR, DAY]))
    def the_wall_clock_jumps(self, micros: Micros) -> None:
        self.bench.clock.jump(micros)

    @precondition(lambda self: self.bench.life is not None)
    @rule(kill_after=st.none() | st.integers(1, 14))
    def the_sweep_looks(self, kill_after: int | None) -> None:
        try:
            self.bench.sweep(kill_after=kill_after)
        except Killed:
            pass
        except StoreError:
            assert self.locked
        else:
            self.note_eras()
            self.nothing_is_missing()
        self.note_eras()

    @precondition(lambda self: self.bench.life is not None)
    @rule(schedule_id=st.sampled_from(IDS))
    def the_alarm_clock_rings(self, schedule_id: str) -> None:
        try:
            self.bench.do(self.bench.dispatcher.reconcile(schedule_id))
        except StoreError:
            assert self.locked
        self.note_eras()

    @precondition(lambda self: self.bench.life is not None and not self.locked)
    @rule(scope=st.sampled_from(["*", *IDS]), micros=st.none() | st.integers(0, 2 * DAY))
    def somebody_pauses(self, scope: str, micros: Micros | None) -> None:
        until = None if micros is None else self.bench.now + micros
        self.bench.do(self.bench.dispatcher.pause(scope, until))
        self.note_eras()

    @precondition(lambda self: self.bench.life is not None and not self.locked)
    @rule(scope=st.sampled_from(["*", *IDS]))
    def somebody_resumes(self, scope: str) -> None:
        self.bench.do(self.bench.dispatcher.resume(scope))
        self.note_eras()

    @precondition(lambda self: self.bench.life is not None)
    @rule()
    def the_process_is_killed(self) -> None:
        self.bench.kill()

    @precondition(lambda self: self.bench.life is not None)
    @rule()
    def the_process_stops_in_order(self) -> None:
        self.bench.stop()

    @precondition(lambda self: self.bench.life is None)
    @rule(kill_after=st.none() | st.integers(1, 20))
    def the_process_starts(self, kill_after: int | None) -> None:
        self.start(kill_after)

    @precondition(lambda self: self.bench.life is None)
    @rule(schedule_id=st.sampled_from(IDS), spec=st.sampled_from([EVERY, DAILY, None]))
    def the_configuration_changes(self, schedule_id: str, spec: dict[str, str] | None) -> None:
        self.configured.pop(schedule_id, None)
        if spec is not None:
            self.configured[schedule_id] = spec

    @precondition(lambda self: self.bench.path.exists())
    @rule()
    def another_program_locks_the_ledger(self) -> None:
        self.bench.lock()
        self.locked = True

    @precondition(lambda self: self.locked)
    @rule()
    def the_ledger_is_free_again(self) -> None:
        self.bench.unlock()
        self.locked = False

    @precondition(lambda self: self.bench.life is not None and not self.locked)
    @rule(most=st.integers(1, 4))
    def workers_take_tasks(self, most: int) -> None:
        self.claimed += [(self.bench.lives, task) for task in self.bench.claim(most)]

    @precondition(lambda self: self.bench.life is not None and not self.locked and self.claimed)
    @rule(outcome=st.sampled_from([COMPLETED, Outcome(TaskState.FAILED, Reason.NO_DATA)]))
    def workers_end_theirs(self, outcome: Outcome) -> None:
        self.end_claimed(outcome)

    @precondition(lambda self: not self.locked)
    @rule()
    def peace_comes_and_everything_ends(self) -> None:
        if self.bench.life is None:
            self.start(None)
        for scope in ("*", *IDS):
            self.somebody_resumes(scope)
        self.end_claimed(COMPLETED)
        self.bench.later(4 * DAY)  # beyond every time that a clock which went ahead has written down
        self.the_sweep_looks(None)
        while self.bench.work():
            pass
        assert self.rows("select id from run where closed_at is null") == []
        assert all(TaskState(state).ended for _, _, state, *_ in self.tasks())

    def end_claimed(self, outcome: Outcome) -> None:
        """Also those of a process that was killed, too late."""
        for life, task in self.claimed:
            with nullcontext() if life == self.bench.lives else pytest.raises(Fenced):
                self.bench.end([task], outcome)
        self.claimed = []

    def start(self, kill_after: int | None) -> None:
        schedules = [self.schedule(schedule_id) for schedule_id in self.configured]
        try:
            self.bench.boot(*schedules, watch=SYMBOLS, kill_after=kill_after)
        except Killed:
            pass
        except SchedulerServiceError:
            assert self.locked
        self.note_eras()

    def schedule(self, schedule_id: str) -> Schedule:
        """The second one catches up with everything, and queues."""
        different = {} if schedule_id == "a" else {"catch_up": "all", "overlap": "queue"}
        return a_schedule(schedule_id, trigger=dict(self.configured[schedule_id]), **different)

    def note_eras(self) -> None:
        """A start may end an era and begin one; a clock that is right again takes back what had not come yet."""
        self.pauses |= set(self.rows("select scope, since, until from pause"))
        rows = self.rows("select id, effective_from, cursor, closed_at, definition from schedule")
        for schedule_id, since, cursor, closed_at, trigger in rows:
            eras = self.eras[schedule_id]
            last_cursor, last_closed = self.known.get(schedule_id, (0, None))
            for healed, now in self.healed:
                if healed == schedule_id and (cursor < last_cursor or closed_at != last_closed):
                    eras[:] = [era for era in eras if era.cut(now)]
                    if eras and eras[-1].until is None:
                        eras[-1].since = min(eras[-1].since, now)
            if not eras or eras[-1].since != since or (eras[-1].until is not None and closed_at is None):
                era = Era(EVERY if "every" in trigger else DAILY, since)
                assert self.configured[schedule_id] == era.spec
                if eras and eras[-1].until is None:
                    eras[-1].until = since
                eras.append(era)
            if closed_at is not None and eras[-1].until is None:
                assert schedule_id not in self.configured
                eras[-1].until = closed_at
            self.known[schedule_id] = cursor, closed_at
        self.healed = []

    # what must hold

    @invariant()
    def every_slot_is_recorded_exactly_once(self) -> None:
        cursors = dict(self.rows("select id, cursor from schedule"))
        for schedule_id, cursor in cursors.items():
            recorded: list[Instant] = []
            last = 0
            for due_at, until_at, slots, outcome, _ in self.slots(schedule_id):
                assert due_at > last, "rows do not overlap"
                last = until_at
                inside = self.expected(schedule_id, due_at - 1, until_at)
                if outcome in ("ran", "caught_up") and due_at in self.done[schedule_id] and not inside:
                    continue  # done under a definition that came with a wrong clock, and went
                assert due_at <= cursor or outcome in ("ran", "caught_up")
                if due_at in self.guessed:
                    assert inside[0] == due_at
                else:
                    assert (len(inside), inside[0], inside[-1]) == (slots, due_at, until_at)
                recorded += inside
            assert [slot for slot in recorded if slot <= cursor] == self.expected(schedule_id, 0, cursor)

    @invariant()
    def what_was_done_stays_done(self) -> None:
        for schedule_id in IDS:
            rows = self.slots(schedule_id)
            done = {due_at for due_at, _, _, outcome, _ in rows if outcome in ("ran", "caught_up")}
            assert done >= self.done[schedule_id]
            self.done[schedule_id] = done

    @invariant()
    def only_slots_of_a_pause_are_skipped_for_it(self) -> None:
        query = "select schedule_id, due_at, until_at from slot where reason = 'paused'"
        for schedule_id, due_at, until_at in self.rows(query):
            mine = [(since, until) for scope, since, until in self.pauses if scope in ("*", schedule_id)]
            for slot in self.expected(schedule_id, due_at - 1, until_at):
                assert any(since <= slot and (until is None or slot < until) for since, until in mine)

    @invariant()
    def a_slot_that_is_carried_out_has_one_run_and_no_run_is_without_a_slot(self) -> None:
        carried_out = [
            (schedule_id, due_at, run_id)
            for schedule_id in IDS
            for due_at, _, _, outcome, run_id in self.slots(schedule_id)
            if outcome in ("ran", "caught_up") or run_id is not None
        ]
        runs = self.rows("select schedule_id, due_at, id from run where schedule_id is not null")
        assert sorted(carried_out) == sorted(runs)
        assert len({(schedule_id, due_at) for schedule_id, due_at, _ in runs}) == len(runs)

    @invariant()
    def runs_count_their_tasks_and_expanded_ones_have_them_all(self) -> None:
        states = Counter((run_id, state) for _, run_id, state, *_ in self.tasks())
        of_run = Counter(run_id for _, run_id, *_ in self.tasks())
        for run_id, plan, *counts, closed_at in self.rows(
            "select id, plan, open_tasks, completed, skipped, failed, closed_at from run"
        ):
            counted = [states[run_id, state] for state in ("completed", "skipped", "failed")]
            assert counts == [states[run_id, "queued"] + states[run_id, "running"], *counted]
            assert (closed_at is not None) == (plan is None and counts[0] == 0)
            assert of_run[run_id] == 2 * len(SYMBOLS) if plan is None else of_run[run_id] % TASKS_PER_SLICE == 0

    @invariant()
    def a_task_ends_at_most_once_and_stays_as_it_ended(self) -> None:
        now = {row[0]: row for row in self.tasks()}
        assert all(now[task_id] == row for task_id, row in self.ended.items())
        self.ended = {task_id: row for task_id, row in now.items() if TaskState(row[2]).ended}

    # how it is known

    def nothing_is_missing(self) -> None:
        """Every slot that is due is recorded; what became due a moment ago may come with the next look."""
        cursors = dict(self.rows("select id, cursor from schedule"))
        for schedule_id in self.configured:
            assert self.expected(schedule_id, cursors[schedule_id], self.bench.now - MINUTE) == []

    def expected(self, schedule_id: str, after: Instant, until: Instant) -> list[Instant]:
        return [slot for era in self.eras[schedule_id] for slot in era.slots(after, until)]

    def slots(self, schedule_id: str) -> list[tuple[Any, ...]]:
        query = "select due_at, until_at, slots, outcome, run_id from slot where schedule_id = ? order by due_at"
        return self.rows(query, schedule_id)

    def tasks(self) -> list[tuple[Any, ...]]:
        return self.rows("select id, run_id, state, reason, attempt, ended_at from task")

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read beside everything else; nothing where a kill came before the tables were made."""
        made = self.bench.path.exists() and self.bench.sql("select 1 from sqlite_master where name = 'task'")
        return self.bench.sql(query, *values) if made else []


Accounting.TestCase.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAccounting = Accounting.TestCase
