"""Days of which nothing is known, as many as a hostile body makes of them."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.parsers.series import Unread

DAYS = st.dates(date(2024, 1, 1), date(2024, 3, 1))


def test_it_keeps_one_stretch_of_a_day_that_a_hundred_rows_contradict() -> None:
    day = date(2024, 3, 31)
    unread = Unread.of([(day, day)] * 100 + [(day - timedelta(days=n), day) for n in range(100)])
    assert unread.stretches == ((day - timedelta(days=99), day),)


@given(st.lists(st.tuples(DAYS, DAYS).map(lambda two: (min(two), max(two)))), DAYS)
def test_it_knows_the_days_of_every_stretch_and_no_others(stretches: list[tuple[date, date]], day: date) -> None:
    assert (day in Unread.of(stretches)) == any(first <= day <= last for first, last in stretches)
