"""What ``why`` says of slots, pauses and gates, sentence by sentence."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, from_iso
from scheduler_service.errors import Held
from scheduler_service.models import Reason, SlotOutcome, StockState
from scheduler_service.stores.pause_store import PauseRow
from scheduler_service.stores.schedule_store import SlotRow
from scheduler_service.stores.traces import RecordedSlot
from scheduler_service.triggers import parse_during, parse_trigger
from scheduler_service.wording import (
    fresh_until,
    moment,
    no_slot,
    of_obstacle,
    of_pause,
    of_slot,
    of_state,
    slot_path,
    together,
)
from tests.market_support import calendars

NEW_YORK = "America/New_York"
DUE = from_iso("2026-11-23T14:30:00Z")


def why_not(spec: dict[str, str], at: str, during: Any = None) -> tuple[str, str]:
    trigger = parse_trigger(spec, NEW_YORK, calendars)
    if during is not None:
        trigger = parse_during(trigger, during, NEW_YORK, calendars)
    return no_slot(trigger, from_iso(at), NEW_YORK)


def test_a_moment_is_utc_and_local_time() -> None:
    assert moment(DUE, NEW_YORK) == "2026-11-23T14:30:00Z (Mon 09:30 EST)"
    assert moment(DUE + 7 * SECOND + 5, "UTC") == "2026-11-23T14:30:07Z (Mon 14:30:07 UTC)"


@pytest.mark.parametrize(
    ("spec", "at", "during", "said", "setting"),
    [
        (
            {"every": "30m"},
            "2026-11-23T14:10:00Z",
            None,
            "no slot at 2026-11-23T14:10:00Z (Mon 09:10 EST): the trigger says 'every 30 minutes'; the one before is "
            "2026-11-23T14:00:00Z (Mon 09:00 EST), the next 2026-11-23T14:30:00Z (Mon 09:30 EST)",
            "trigger",
        ),
        (
            {"every": "30m"},
            "2026-11-23T13:30:00Z",
            {"days": "mon-fri", "hours": "09:00-17:00"},
            "it is outside the window, on Monday through Friday from 09:00 to 17:00, America/New_York; the one before "
            "is 2026-11-20T21:30:00Z (Fri 16:30 EST), the next 2026-11-23T14:00:00Z (Mon 09:00 EST)",
            "during",
        ),
        (
            {"every": "30m"},
            "2026-11-26T15:00:00Z",
            {"market": "XNYS"},
            "; XNYS is closed on Thu 26 Nov 2026, a holiday; the one before",
            "during",
        ),
        (
            {"every": "30m"},
            "2026-11-27T19:00:00Z",
            {"market": "XNYS"},
            "; XNYS closes at 13:00 on Fri 27 Nov 2026, a half day; the one before is 2026-11-27T17:30:00Z",
            "during",
        ),
        (
            {"market": "XNYS", "at": "close"},
            "2026-11-28T21:00:00Z",
            None,
            "; XNYS has no session on Sat 28 Nov 2026; the one before is 2026-11-27T18:00:00Z",
            "trigger",
        ),
        (
            {"market": "XNYS", "at": "close"},
            "2031-11-27T21:30:00Z",
            None,
            "; the calendar of XNYS is not known for this day, usual hours are assumed; the one before",
            "trigger",
        ),
        ({"at": "2026-11-23T14:30:00Z"}, "2026-11-23T15:00:00Z", None, "(Mon 09:30 EST), none after", "trigger"),
        ({"at": "2026-11-23T14:30:00Z"}, "2026-11-23T14:00:00Z", None, "none before, the next 2026", "trigger"),
    ],
)
def test_an_instant_without_a_slot_says_why(
    spec: dict[str, str], at: str, during: Any, said: str, setting: str
) -> None:
    sentence, decided = why_not(spec, at, during)
    assert said in sentence
    assert decided == setting


@pytest.mark.parametrize(
    ("outcome", "reason", "late", "said", "path"),
    [
        (SlotOutcome.RAN, None, SECOND // 5, "it ran, 0.2 s after it was due", ".trigger"),
        (SlotOutcome.CAUGHT_UP, None, 95 * MINUTE, "(Mon 11:05 EST), 1 h 35 min late", ".catch_up"),
        (SlotOutcome.COALESCED, Reason.COALESCED, HOUR, "a newer slot was run in its place", ".catch_up"),
        (SlotOutcome.MISSED, Reason.TOO_OLD, 3 * DAY, "found later than catch_up_window allows", ".catch_up_window"),
        (SlotOutcome.MISSED, Reason.CATCH_UP_NONE, HOUR, "it was found late, and catch_up is none", ".catch_up"),
        (SlotOutcome.SKIPPED, Reason.DISABLED, HOUR, "it was switched off", ".enabled"),
        (SlotOutcome.SKIPPED, Reason.PAUSED, HOUR, "it was skipped (paused): it was paused", None),
        (SlotOutcome.SKIPPED, Reason.OVERLAP, HOUR, "it was skipped (overlap)", ".trigger"),
    ],
)
def test_what_became_of_a_slot_is_a_sentence_and_a_setting(
    outcome: SlotOutcome, reason: Reason | None, late: int, said: str, path: str | None
) -> None:
    slot = RecordedSlot(SlotRow(DUE, DUE, 1, outcome, reason), None, DUE + late)
    assert said in of_slot(slot, None, NEW_YORK)
    assert slot_path(slot, "schedules[news]") == ("" if path is None else f"schedules[news]{path}")


def test_a_pause_names_its_end_and_its_reason() -> None:
    assert of_pause(PauseRow("news", DUE, None, None), "UTC").endswith("(Mon 14:30 UTC), until someone resumes it")
    assert of_pause(PauseRow("*", DUE, DUE + HOUR, "moving"), "UTC") == (
        "everything is paused since 2026-11-23T14:30:00Z (Mon 14:30 UTC), until 2026-11-23T15:30:00Z (Mon 15:30 UTC): "
        "moving"
    )


def test_how_fresh_a_source_is_counts_as_slots_do() -> None:
    state = StockState(checked_for=DUE, checked_at=DUE + MINUTE, failures=2)
    now, end = DUE + MINUTE, DUE + 18 * MINUTE
    assert fresh_until(state, 20 * MINUTE, end - 1, now, "UTC").startswith("fresh until 2026-11-23T14:48:00Z")
    assert fresh_until(state, 20 * MINUTE, end, now, "UTC").startswith("stale since 2026-11-23T14:48:00Z")
    assert of_state(state, 20 * MINUTE, DUE, now, "UTC").endswith("fresh_for 20m, 2 failures since)")
    untried = StockState()
    assert of_state(untried, MINUTE, DUE, now, "UTC") == fresh_until(untried, 1, DUE, now, "UTC") == "never fetched"


def test_a_check_that_lies_ahead_was_noted_by_a_wrong_clock_and_does_not_count() -> None:
    state = StockState(checked_for=DUE + 30 * DAY, checked_at=DUE + 30 * DAY + MINUTE)
    said = (
        "stale: checked at 2026-12-23T14:31:00Z (Wed 14:31 UTC), a time that has not come yet: a wrong clock; it does "
        "not count"
    )
    assert fresh_until(state, HOUR, DUE, DUE, "UTC") == of_state(state, HOUR, DUE, DUE, "UTC") == said


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2027-03-14T07:30:00Z", "; that day clocks go forward: 02:30 does not exist, runs at 03:00; the one before"),
        ("2027-03-15T07:30:00Z", "02:30 every day, America/New_York'; the one before"),
    ],
)
def test_an_instant_without_a_slot_names_what_the_clocks_did_that_day(at: str, said: str) -> None:
    assert said in why_not({"cron": "30 2 * * *"}, at)[0]


def test_a_slot_left_out_of_the_repeated_hour_is_told() -> None:
    said, _ = why_not({"cron": "30 1 * * *"}, "2026-11-01T06:30:00Z")
    assert "; that day clocks go back: 01:30 comes twice, runs the first time; the one before is" in said


@pytest.mark.parametrize(
    ("reason", "path"),
    [
        (Reason.BUDGET_EXHAUSTED, "providers.edgar.budget"),
        (Reason.REFUSED, "providers.edgar.api_keys"),
        (Reason.RATE_LIMITED, "providers.edgar"),
    ],
)
def test_an_obstacle_is_told_with_its_end_once(reason: Reason, path: str) -> None:
    said, decided = of_obstacle(Held("edgar is asked at its limit", reason, DUE), "edgar", "UTC")
    assert (said, decided) == (
        f"edgar is asked at its limit until 2026-11-23T14:30:00Z (Mon 14:30 UTC) ({reason})",
        path,
    )
    said, _ = of_obstacle(Held("not asked until 2026-11-23T14:30:00Z", reason, DUE), "edgar", "UTC")
    assert said == f"not asked until 2026-11-23T14:30:00Z ({reason})"


def test_those_who_say_the_same_say_it_together() -> None:
    assert together([("feeds", "fresh"), ("desk", "stale"), ("wire", "fresh")]) == "feeds, wire: fresh; desk: stale"
