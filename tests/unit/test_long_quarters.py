"""A fiscal year of 16, 12, 12 and 12 weeks: each quarter is one, and nothing else of that length is."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from scheduler_service.parsers.series import Fact, FiledIn, Series

YEAR_END = date(2026, 1, 31)
WEEK = timedelta(weeks=1)


def fact(weeks: int, value: int, *, after: date = YEAR_END, annual: bool = False) -> Fact:
    end = after + weeks * WEEK
    return Fact(after + timedelta(days=1), end, Decimal(value), (FiledIn(end, f"a-{end}"),), annual=annual)


def series(*facts: Fact) -> Series:
    return Series.of([{(f.start, f.end): f for f in facts}], additive=True)


def values(made: Series) -> dict[date, int]:
    return {end: int(figure.value) for end, figure in made.quarters.items()}


BEFORE = fact(52, 520, after=YEAR_END - 52 * WEEK, annual=True)


def test_sixteen_weeks_after_a_fiscal_year_are_its_first_quarter() -> None:
    first, second = fact(16, 160), fact(28, 285)
    made = series(BEFORE, first, second)
    assert values(made) == {first.end: 160, second.end: 125}
    assert made.quarters[second.end].derived


def test_the_year_leaves_a_last_quarter_and_twelve_months_are_known_at_each() -> None:
    parts = [fact(16, 160), fact(28, 285), fact(40, 410), fact(52, 530, annual=True)]
    before = [fact(weeks, value, after=YEAR_END - 52 * WEEK) for weeks, value in ((16, 150), (28, 270), (40, 395))]
    made = series(BEFORE, *before, *parts)
    assert values(made)[parts[3].end] == 120
    trailing = made.trailing(parts[0].end)
    assert trailing is not None
    assert trailing.value == 520 + 160 - 150


def test_four_months_that_follow_no_fiscal_year_are_no_quarter() -> None:
    assert values(series(BEFORE, fact(16, 160, after=YEAR_END + 30 * WEEK))) == {}
    assert values(series(fact(16, 160))) == {}
    assert values(series(BEFORE, fact(26, 160))) == {}
