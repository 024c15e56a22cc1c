from __future__ import annotations

from decimal import Decimal

import pytest

from scheduler_service.cli.figures import ago, amount, growth, local, local_iso, percent, several, span, sparkline
from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, from_iso

NOON = from_iso("2026-11-23T17:00:00Z")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("0", "0.00"),
        ("6.08", "6.08"),
        ("-999.5", "-999.50"),
        ("1000", "1.00 K"),
        ("391035000000", "391.04 B"),
        ("-12500000", "-12.50 M"),
        ("1234567000000000", "1,234.57 T"),
    ],
)
def test_amounts_are_short(value: str | None, text: str) -> None:
    assert amount(None if value is None else Decimal(value)) == text


def test_fractions_are_percents() -> None:
    assert percent(Decimal("0.2431")) == "24.3 %"
    assert percent(Decimal("0.157"), signed=True) == "+15.7 %"
    assert percent(Decimal("-0.04"), signed=True) == "-4.0 %"
    assert percent(None) == "-"


def test_growth_from_nothing_or_a_loss_means_nothing() -> None:
    assert growth(Decimal(3), Decimal(2)) == Decimal("0.5")
    assert growth(Decimal(3), Decimal(0)) is None
    assert growth(Decimal(3), Decimal(-2)) is None
    assert growth(None, Decimal(2)) is None


def test_a_sparkline_stands_on_zero() -> None:
    assert sparkline([]) == ""
    assert sparkline([Decimal(0), Decimal(0)]) == "▁▁"
    assert sparkline([Decimal(7), Decimal(14)]) == "▄█"
    assert sparkline([Decimal(-7), Decimal(0), Decimal(7)]) == "▁▄█"
    assert sparkline([Decimal(7), None, Decimal(14)]) == "▄·█"
    assert sparkline([None, None]) == "··"


def test_time_passed_is_told_in_one_unit() -> None:
    assert ago(None, NOON) == "never"
    assert ago(NOON - SECOND, NOON) == "just now"
    assert ago(NOON + SECOND, NOON) == "just now"
    assert ago(NOON + HOUR, NOON) == "2026-11-23T18:00:00Z (a wrong clock)"
    assert ago(NOON - 90 * SECOND, NOON) == "1 min ago"
    assert [span(n) for n in (9 * SECOND, 59 * MINUTE, 25 * HOUR, 40 * DAY)] == ["9 s", "59 min", "1 d", "40 d"]


def test_local_times_carry_their_zone() -> None:
    assert local(NOON, "America/New_York") == "Mon 23 Nov 2026 12:00:00 EST"
    assert local_iso(NOON, "America/New_York") == "2026-11-23T12:00:00-05:00"


def test_one_is_not_many() -> None:
    assert (several(1, "task"), several(0, "task"), several(1200, "task")) == ("1 task", "0 tasks", "1,200 tasks")
