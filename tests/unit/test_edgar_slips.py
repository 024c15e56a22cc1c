"""A slip in one row costs the period it is about, and no other that ends the same day. The company is invented."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.test_edgar_traps import NINE_MONTHS, Q1, Q3, YEAR, metrics_of, reports_of, row

CONTRACTS = "RevenueFromContractWithCustomerExcludingAssessedTax"
HALF = ("2024-01-01", "2024-06-30")
FOURTH = ("2024-10-01", "2024-12-31")
NOVEMBER, LATER = "2024-11-01", "2025-11-01"


def quarterly(period: tuple[str | None, str], value: float, filed: str = NOVEMBER) -> dict[str, Any]:
    return row(period, value, filed=filed, form="10-Q")


def incomes(*rows: dict[str, Any]) -> dict[tuple[str, str], Decimal | None]:
    """Of the quarters and the year."""
    return {key: report.net_income for key, report in reports_of({"NetIncomeLoss": list(rows)}).items()}


@pytest.mark.parametrize("slip", [-15, 15_000])
def test_a_slip_in_a_quarter_leaves_the_nine_months_and_what_follows_from_them(slip: int) -> None:
    told = incomes(
        row(YEAR, 53),
        quarterly(NINE_MONTHS, 40),
        quarterly(HALF, 25, "2024-08-01"),
        quarterly(Q3, 15),
        quarterly(Q3, slip, LATER),
    )
    assert told == {("year", "2024-12-31"): 53, ("quarter", "2024-12-31"): 13}


def test_a_slip_in_the_nine_months_leaves_the_quarter_and_the_year() -> None:
    told = incomes(row(YEAR, 53), quarterly(NINE_MONTHS, 40), quarterly(NINE_MONTHS, -40, LATER), quarterly(Q3, 15))
    assert told == {("year", "2024-12-31"): 53, ("quarter", "2024-09-30"): 15}


def test_two_values_of_a_quarter_in_one_filing_leave_the_nine_months() -> None:
    told = incomes(row(YEAR, 53), quarterly(NINE_MONTHS, 40), quarterly(Q3, 15), quarterly(Q3, 23))
    assert told == {("year", "2024-12-31"): 53, ("quarter", "2024-12-31"): 13}


def test_no_other_tag_stands_in_where_a_slip_is() -> None:
    """What customers paid by contract is a part of all revenue here."""
    slip = [row(YEAR, 100), row(YEAR, -100, filed="2026-02-01"), quarterly(NINE_MONTHS, 70)]
    parts = [row(YEAR, 80), row(FOURTH, 20), quarterly(NINE_MONTHS, 60)]
    income = [row(YEAR, 10), row(FOURTH, 3), quarterly(NINE_MONTHS, 7), quarterly(Q3, 2)]
    reports = reports_of({"Revenues": slip, CONTRACTS: parts, "NetIncomeLoss": income})
    assert {key: report.revenue for key, report in reports.items()} == {
        ("year", "2024-12-31"): None,
        ("quarter", "2024-12-31"): None,
        ("quarter", "2024-09-30"): None,
    }


def test_the_newest_tag_is_the_newest_though_its_newest_figure_is_a_slip() -> None:
    now, before = ("2024-01-01", "2024-12-31"), ("2023-01-01", "2023-12-31")
    total = [row(before, 90), row(now, 100), row(now, -100)]
    parts = [row(before, 70), row(now, 80)]
    reports = reports_of({CONTRACTS: total, "SalesRevenueNet": parts, "NetIncomeLoss": [row(now, 10), row(before, 9)]})
    assert [report.revenue for report in reports.values()] == [None, 90]


def test_twelve_months_are_unknown_where_the_part_to_be_taken_off_is_a_slip() -> None:
    this_q1 = quarterly(("2025-01-01", "2025-03-31"), 25, "2025-05-01")
    flows = [row(YEAR, 100), quarterly(Q1, 20, "2024-05-01"), quarterly(Q1, -20, "2025-05-01"), this_q1]
    parts = [row(YEAR, 80), quarterly(Q1, 11, "2024-05-01"), this_q1 | {"val": 15}]
    assert metrics_of({"Revenues": flows, CONTRACTS: parts})["revenue_ttm"].value is None
