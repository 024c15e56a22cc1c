"""What becomes of due slots: laws for any trigger and any stretch, and tables for what people read in the history."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from time import perf_counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, Instant, Micros, from_iso
from scheduler_service.models import Reason, SlotOutcome
from scheduler_service.slots import LATE, RUNS_PER_PLAN, Policy, SlotPlan, plan_slots
from scheduler_service.stores.schedule_store import SlotRow
from scheduler_service.triggers import Trigger, parse_trigger

NOON = from_iso("2026-11-23T12:00:00Z")

TRIGGERS = [
    parse_trigger(spec, "America/New_York")
    for spec in (
        {"every": "1s"},
        {"every": "90s"},
        {"every": "30m"},
        {"every": "7d"},
        {"cron": "* * * * *"},
        {"cron": "*/20 9-16 * * mon-fri"},
        {"cron": "30 1 * * *"},
        {"cron": "30 2 * * *"},
        {"cron": "0 7 29 2 *"},
        {"at": "2026-11-01T06:30:00Z"},
    )
]
# around a change of the clocks, and down to the microsecond
_starts = st.builds(
    lambda day, micros: from_iso(day) + micros,
    st.sampled_from(["2026-10-31T00:00:00Z", "2026-03-07T00:00:00Z", "2028-02-28T00:00:00Z"]),
    st.one_of(st.integers(0, 2 * DAY), st.integers(0, 2 * 1440).map(lambda minute: minute * MINUTE)),
)
_stretches = st.one_of(
    st.integers(-HOUR, HOUR), st.integers(0, 5 * DAY), st.integers(0, 5000).map(lambda minutes: minutes * MINUTE)
)
_policies = st.builds(
    Policy,
    catch_up=st.sampled_from(["latest", "none"]),
    window=st.one_of(st.sampled_from([0, SECOND, LATE, HOUR, DAY, 30 * DAY]), st.integers(0, 3 * DAY)),
    hold=st.sampled_from([None, None, None, Reason.PAUSED, Reason.REMOVED, Reason.PROVIDER_OFF]),
)


def fate(due_at: Instant, newest: Instant, policy: Policy, now: Instant) -> tuple[SlotOutcome, Reason | None]:
    """The oracle: what becomes of one slot, seen by itself."""
    if policy.hold is not None:
        return SlotOutcome.SKIPPED, policy.hold
    if due_at == newest and now - due_at <= LATE:
        return SlotOutcome.RAN, None
    if policy.catch_up == "none":
        return SlotOutcome.MISSED, Reason.CATCH_UP_NONE
    if now - due_at > policy.window:
        return SlotOutcome.MISSED, Reason.TOO_OLD
    return (SlotOutcome.CAUGHT_UP, None) if due_at == newest else (SlotOutcome.COALESCED, Reason.COALESCED)


@settings(max_examples=400, deadline=None)
@given(trigger=st.sampled_from(TRIGGERS), policy=_policies, cursor=_starts, stretch=_stretches)
def test_every_slot_is_in_exactly_one_row_with_the_fate_it_has_by_itself(
    trigger: Trigger, policy: Policy, cursor: Instant, stretch: Micros
) -> None:
    now = cursor + stretch
    plan = plan_slots(trigger, policy, cursor, now)
    assert sum(row.slots for row in plan.slots) == trigger.count(cursor, now)
    assert len(plan.slots) <= 3
    assert all(row.due_at <= row.until_at and (row.slots == 1) == (row.due_at == row.until_at) for row in plan.slots)
    assert all(earlier.until_at < later.due_at for earlier, later in pairwise(plan.slots))
    newest = trigger.last(cursor, now)
    assert (plan.slots[-1].until_at if plan.slots else None) == newest
    if newest is None:
        assert plan == SlotPlan()
        return
    for row in plan.slots:
        inside = trigger.between(row.due_at - 1, row.until_at, 2000)
        assert trigger.count(row.due_at - 1, row.until_at) == row.slots
        assert inside[0] == row.due_at
        assert {fate(due_at, newest, policy, now) for due_at in inside} == {(row.outcome, row.reason)}
        assert fate(row.until_at, newest, policy, now) == (row.outcome, row.reason)


@settings(max_examples=300, deadline=None)
@given(trigger=st.sampled_from(TRIGGERS), policy=_policies, cursor=_starts, stretch=_stretches)
def test_at_most_the_newest_slot_is_run(trigger: Trigger, policy: Policy, cursor: Instant, stretch: Micros) -> None:
    now = cursor + stretch
    plan = plan_slots(trigger, policy, cursor, now)
    running = [row for row in plan.slots if row.outcome in (SlotOutcome.RAN, SlotOutcome.CAUGHT_UP)]
    assert tuple(row.due_at for row in running) == plan.runs
    assert not running or (running[0].slots == 1 and plan.runs == (trigger.last(cursor, now),))
    assert plan.passed == trigger.count(cursor, now) - len(running)


@settings(max_examples=200, deadline=None)
@given(trigger=st.sampled_from(TRIGGERS), policy=_policies, cursor=_starts, stretch=_stretches, part=st.floats(0, 1))
def test_looking_twice_on_the_way_accounts_for_the_same_slots(
    trigger: Trigger, policy: Policy, cursor: Instant, stretch: Micros, part: float
) -> None:
    now = cursor + stretch
    halfway = cursor + int(stretch * part)
    first = plan_slots(trigger, policy, cursor, halfway)
    reached = first.slots[-1].until_at if first.slots else cursor
    then = plan_slots(trigger, policy, reached, now)
    assert all(row.due_at > reached for row in then.slots)
    counted = sum(row.slots for row in (*first.slots, *then.slots))
    assert counted == max(trigger.count(cursor, now), trigger.count(cursor, halfway))


_moments = st.integers(-HOUR, 6 * DAY)


@settings(max_examples=400, deadline=None)
@given(
    trigger=st.sampled_from(TRIGGERS),
    policy=st.builds(replace, _policies, catch_up=st.sampled_from(["latest", "none", "all"])),
    cursor=_starts,
    stretch=_stretches,
    pauses=st.lists(st.tuples(_moments, st.integers(0, 2 * DAY)), max_size=2),
    done=st.lists(st.integers(0, 300), max_size=5),
)
def test_pauses_and_what_is_recorded_are_respected_and_nothing_is_left_out(
    trigger: Trigger,
    policy: Policy,
    cursor: Instant,
    stretch: Micros,
    pauses: list[tuple[Micros, Micros]],
    done: list[int],
) -> None:
    """Plan by plan, until no more is due: each slot has one row, or was recorded before."""
    now = cursor + stretch
    slots = trigger.between(cursor, now, 3000)
    assume(len(slots) < 3000)
    paused = sorted((cursor + at, cursor + at + length) for at, length in pauses)
    recorded = sorted({slots[number] for number in done if number < len(slots)})
    rows, more = list[SlotRow](), True
    while more:
        plan = plan_slots(
            trigger, policy, cursor, now, paused=paused, recorded=[slot for slot in recorded if slot > cursor]
        )
        assert len(plan.runs) <= RUNS_PER_PLAN
        assert plan.more == (plan.upto is not None and trigger.last(plan.upto, now) is not None)
        rows += plan.slots
        cursor, more = plan.upto or cursor, plan.more
    assert cursor == (slots[-1] if slots else cursor)
    assert all(earlier.until_at < later.due_at for earlier, later in pairwise(rows))
    covered = [slot for row in rows for slot in trigger.between(row.due_at - 1, row.until_at, row.slots + 1)]
    assert covered == [slot for slot in slots if slot not in recorded]
    for row in rows:
        inside = trigger.between(row.due_at - 1, row.until_at, row.slots + 1)
        assert len(inside) == row.slots
        held = {any(after < slot <= until for after, until in paused) for slot in inside}
        if policy.hold is not None:
            assert (row.outcome, row.reason) == (SlotOutcome.SKIPPED, policy.hold)
        else:
            assert held == {row.reason is Reason.PAUSED}


MINUTELY = parse_trigger({"every": "1m"}, "UTC")
ALL = Policy("all", DAY)


def test_all_that_was_missed_is_caught_up_with_oldest_first_in_several_plans() -> None:
    cursor, runs, plans = NOON, list[Instant](), 0
    more = True
    while more:
        plan = plan_slots(MINUTELY, ALL, cursor, NOON + 5 * HOUR)
        runs, plans = [*runs, *plan.runs], plans + 1
        cursor, more = plan.upto or 0, plan.more
    assert runs == MINUTELY.between(NOON, NOON + 5 * HOUR, 1000)
    assert plans == 3


def test_beyond_a_thousand_runs_the_older_ones_are_too_old() -> None:
    rows, cursor, more = list[SlotRow](), NOON, True
    while more:
        plan = plan_slots(MINUTELY, ALL, cursor, NOON + 20 * HOUR)
        rows += plan.slots
        cursor, more = plan.upto or 0, plan.more
    assert (rows[0].slots, rows[0].outcome, rows[0].reason) == (200, SlotOutcome.MISSED, Reason.TOO_OLD)
    assert [row.outcome for row in rows[1:]] == [*[SlotOutcome.CAUGHT_UP] * 998, *[SlotOutcome.RAN] * 2]


def test_what_coalesces_into_a_slot_that_is_done_makes_no_run() -> None:
    plan = plan_slots(HOURLY, Policy("latest", DAY), NOON, NOON + 3 * HOUR, recorded=[NOON + 3 * HOUR])
    assert [(row.slots, row.outcome) for row in plan.slots] == [(2, SlotOutcome.COALESCED)]
    assert (plan.runs, plan.upto) == ((), NOON + 3 * HOUR)


def test_what_lies_before_a_pause_that_is_over_may_still_be_caught_up_with() -> None:
    paused = [(NOON + 90 * MINUTE, NOON + 4 * HOUR)]
    plan = plan_slots(HOURLY, Policy("latest", DAY), NOON, NOON + 4 * HOUR + MINUTE, paused=paused)
    said = [(row.slots, row.outcome) for row in plan.slots]
    assert said == [(1, SlotOutcome.CAUGHT_UP), (3, SlotOutcome.SKIPPED)]


@pytest.mark.parametrize("spec", [{"every": "1m"}, {"cron": "* * * * *"}], ids=["every", "cron"])
def test_ten_years_of_a_schedule_of_every_minute_are_three_rows_at_once(spec: dict[str, str]) -> None:
    trigger = parse_trigger(spec, "America/New_York")
    started = perf_counter()
    plan = plan_slots(trigger, Policy("latest", DAY), NOON - 3652 * DAY, NOON)
    assert perf_counter() - started < 1.0  # walking them takes 20 s
    assert [(row.slots, row.outcome) for row in plan.slots] == [
        (3651 * 1440 - 1, SlotOutcome.MISSED),
        (1440, SlotOutcome.COALESCED),
        (1, SlotOutcome.RAN),
    ]


HOURLY = parse_trigger({"every": "1h"}, "UTC")

TABLE = {
    "nothing is due": (Policy("latest", DAY), 0, 59 * MINUTE, []),
    "on time": (Policy("latest", DAY), 0, HOUR, ["1 ran"]),
    "a little late is still on time": (Policy("latest", DAY), 0, HOUR + MINUTE, ["1 ran"]),
    "late": (Policy("latest", DAY), 0, HOUR + MINUTE + 1, ["1 caught_up"]),
    "three hours away": (Policy("latest", DAY), 0, 3 * HOUR + 5 * MINUTE, ["2 coalesced(coalesced)", "1 caught_up"]),
    "three hours away, back on time": (Policy("latest", DAY), 0, 3 * HOUR, ["2 coalesced(coalesced)", "1 ran"]),
    "two days away": (
        Policy("latest", DAY),
        0,
        48 * HOUR,
        ["23 missed(too_old)", "24 coalesced(coalesced)", "1 ran"],
    ),
    "all of it too old": (
        Policy("latest", 10 * MINUTE),
        0,
        3 * HOUR + 11 * MINUTE,
        ["2 missed(too_old)", "1 missed(too_old)"],
    ),
    "exactly as old as allowed": (Policy("latest", 10 * MINUTE), 0, HOUR + 10 * MINUTE, ["1 caught_up"]),
    "no catching up, on time": (Policy("none", DAY), 0, 3 * HOUR, ["2 missed(catch_up_none)", "1 ran"]),
    "no catching up, late": (
        Policy("none", DAY),
        0,
        3 * HOUR + 5 * MINUTE,
        ["2 missed(catch_up_none)", "1 missed(catch_up_none)"],
    ),
    "paused": (Policy("latest", DAY, Reason.PAUSED), 0, 3 * HOUR, ["3 skipped(paused)"]),
    "removed": (Policy("latest", DAY, Reason.REMOVED), 0, 72 * HOUR, ["72 skipped(removed)"]),
    "disabled, nothing due": (Policy("latest", DAY, Reason.DISABLED), 0, 5 * MINUTE, []),
    "the clock went back": (Policy("latest", DAY), 5 * HOUR, 2 * HOUR, []),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_history_reads(case: str) -> None:
    policy, cursor, now, expected = TABLE[case]
    plan = plan_slots(HOURLY, policy, NOON + cursor, NOON + now)
    said = [f"{row.slots} {row.outcome}" + (f"({row.reason})" if row.reason else "") for row in plan.slots]
    assert said == expected
