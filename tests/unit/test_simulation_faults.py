"""What a person writes behind ``--fault``, and what becomes of it."""

from __future__ import annotations

from datetime import date

import pytest

from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.simulation_faults import ClockStep, Crash, Happening, Outage, Storm, parse_fault


def parsed(spec: str, *, first_day: str = "2026-11-23", days: int = 7) -> Happening:
    return parse_fault(
        spec,
        first_day=date.fromisoformat(first_day),
        days=days,
        timezone="America/New_York",
        providers=["edgar", "perplexity"],
    )


@pytest.mark.parametrize(
    ("spec", "after", "trouble"),
    [
        ("outage:perplexity:2h@day3", 2 * DAY, Outage("perplexity", 2 * HOUR)),
        ("429:edgar:30m@day1T14:30", 14 * HOUR + 30 * MINUTE, Storm("edgar", 30 * MINUTE, 429)),
        ("503:edgar:1h@day1", 0, Storm("edgar", HOUR, 503)),
        ("slow:edgar:1h@day1T1:05", HOUR + 5 * MINUTE, Storm("edgar", HOUR)),
        ("crash@day7T23:59", 6 * DAY + 23 * HOUR + 59 * MINUTE, Crash()),
        ("clock:+1h@day2", DAY, ClockStep(HOUR)),
        ("clock:-30m@day2", DAY, ClockStep(-30 * MINUTE)),
    ],
)
def test_a_fault_is_read_as_it_is_written(spec: str, after: int, trouble: object) -> None:
    assert parsed(spec) == Happening(spec, after, trouble)  # type: ignore[arg-type]


def test_its_time_is_that_of_the_wall_clock_also_where_a_day_is_longer() -> None:
    assert parsed("crash@day1T12:00", first_day="2026-11-01").after == 13 * HOUR, "the clocks went back in the night"
    assert parsed("crash@day2T12:00", first_day="2026-11-01").after == 25 * HOUR + 12 * HOUR
    assert parsed("crash@day2T12:00", first_day="2026-11-02").after == DAY + 12 * HOUR


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("crash", "does not say when"),
        ("crash@noon", "'noon' is no time"),
        ("crash@day1T24:00", "is no time"),
        ("crash@day8", "the days 1 to 7"),
        ("crash@day0", "the days 1 to 7"),
        ("clock:1h@day1", "by how much the clock is set"),
        ("clock:+soon@day1", "is not a duration"),
        ("outage:edgr:1h@day1", "did you mean edgar?"),
        ("outage:edgar@day1", "is no fault"),
        ("outage:edgar:0s@day1", "no time at all"),
        ("404:edgar:1h@day1", "is no fault"),
        ("flood:edgar:1h@day1", "is no fault; write outage:PROVIDER"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_that_repeats_it(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        parsed(spec)
    assert said in str(caught.value)
    assert repr(spec) in str(caught.value)
