"""The sums of a simulation's report."""

from __future__ import annotations

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.cli.simulate import progress
from scheduler_service.simulation_report import most_within, per_period, time_in_all

TIMES = st.lists(st.integers(0, 200), max_size=40).map(sorted)
STRETCHES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


@given(TIMES, st.integers(1, 60))
def test_the_peak_is_what_a_window_sees_that_starts_with_each_call(times: list[int], span: int) -> None:
    assert most_within(times, span) == max((sum(at <= t < at + span for t in times) for at in times), default=0)


@given(TIMES, st.integers(1, 60))
def test_every_call_is_in_one_period(times: list[int], period: int) -> None:
    counts = per_period(times, 200, period)
    assert sum(counts) == len(times)
    assert len(counts) == -(-200 // period)


@given(st.lists(STRETCHES, min_size=1, max_size=3))
def test_the_time_in_all_is_that_of_every_instant_by_itself(of_each: list[list[tuple[int, int]]]) -> None:
    covered = [{t for begin, end in stretches for t in range(begin, end)} for stretches in of_each]
    assert time_in_all(of_each) == len(set.intersection(*covered))


def test_where_nothing_is_required_nothing_is_fresh() -> None:
    assert time_in_all([]) == 0


@pytest.mark.parametrize("watched", [True, False])
def test_how_far_a_simulation_is_is_written_over_and_over_where_somebody_watches(
    watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: watched)
    monkeypatch.setattr("sys.stderr", screen)
    with progress(30) as passed:
        for day in (0, 8, 8, 30):
            passed(day)
    steps = ["day 1 of 30", "day 9 of 30", "day 30 of 30", ""]
    assert screen.getvalue() == ("".join(f"\r{step:<12}\r{step}" for step in steps) if watched else "")
