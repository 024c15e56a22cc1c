from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.clock import MINUTE, SECOND
from scheduler_service.gates.rate import interval, permit


@pytest.mark.parametrize(
    ("per_second", "per_minute", "expected"),
    [
        (None, None, 0),
        (5.0, None, SECOND // 5),
        (None, 60.0, SECOND),
        (5.0, 60.0, SECOND),
        (0.5, 600.0, 2 * SECOND),
        (None, 0.1, 10 * MINUTE),
    ],
)
def test_it_spaces_by_the_stricter_of_both_limits(
    per_second: float | None, per_minute: float | None, expected: int
) -> None:
    assert interval(per_second, per_minute) == expected


@given(st.floats(0.001, 1000))
def test_it_never_rounds_a_limit_up(per_second: float) -> None:
    assert SECOND / interval(per_second, None) <= per_second * (1 + 1e-9)


def test_it_lets_a_request_leave_at_once_after_a_pause() -> None:
    assert permit(100, 10, 500).at == 500


def test_it_saves_nothing_up_during_a_pause() -> None:
    first = permit(100, 10, 500)
    assert permit(first.next_at, 10, 500).at == 510


@given(st.lists(st.integers(0, 50), min_size=2, max_size=50), st.integers(1, 20))
def test_it_keeps_an_interval_between_any_two_and_delays_none_for_longer_than_that_needs(
    pauses: list[int], spacing: int
) -> None:
    now, next_at, left = 0, 0, list[int]()
    for pause in pauses:
        now += pause
        given_ = permit(next_at, spacing, now)
        next_at = given_.next_at
        earliest = max(now, left[-1] + spacing) if left else now
        assert given_.at == earliest
        left.append(given_.at)
