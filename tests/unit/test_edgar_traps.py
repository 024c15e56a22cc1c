"""The traps of EDGAR's formats, one small hand-made body each. The company and its figures are invented."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.errors import ParseError
from scheduler_service.models import Kind, Number, Provenance, Reason, Record
from scheduler_service.parsers import earnings, fundamental_analysis
from scheduler_service.parsers.earnings import Report, read_earnings
from scheduler_service.parsers.fundamental_analysis import (
    Metric,
    read_fundamentals,
)
from scheduler_service.parsers.json_values import as_date, as_number
from scheduler_service.parsers.submissions import Submissions
from scheduler_service.parsers.xbrl import CompanyFacts, parse_company_facts
from scheduler_service.processors.base import content_hash

Q1 = ("2024-01-01", "2024-03-31")
Q2 = ("2024-04-01", "2024-06-30")
Q3 = ("2024-07-01", "2024-09-30")
NINE_MONTHS = ("2024-01-01", "2024-09-30")
YEAR = ("2024-01-01", "2024-12-31")
AT_YEAR_END = (None, "2024-12-31")
AFTER_YEAR_END = (None, "2025-01-20")


def row(
    period: tuple[str | None, str], val: Any, filed: str = "2025-02-01", form: str = "10-K", **more: Any
) -> dict[str, Any]:
    start, end = period
    accession = f"0000000042-{filed[2:4]}-{filed[5:7]}{filed[8:]}00"
    fiscal_period = "FY" if form == "10-K" else "Q1"
    made = {"end": end, "val": val, "accn": accession, "fy": 2024, "fp": fiscal_period, "form": form, "filed": filed}
    return ({"start": start} if start else {}) | made | more


def facts_of(tags: dict[str, list[dict[str, Any]]], unit: str = "USD") -> CompanyFacts:
    def unit_of(tag: str) -> str:
        return f"{unit}/shares" if "PerShare" in tag else "shares" if "Weighted" in tag else unit

    made = {tag: {"label": None, "units": {unit_of(tag): rows}} for tag, rows in tags.items()}
    body = json.dumps({"cik": 42, "entityName": "Small", "facts": {"us-gaap": made}}).encode()
    return parse_company_facts(body, (*earnings.CONCEPTS, *fundamental_analysis.CONCEPTS))


def reports_of(tags: dict[str, list[dict[str, Any]]]) -> dict[tuple[str, str], Report]:
    data = read_earnings(facts_of(tags), Submissions(42, "Small", (), ()), origin)
    return {(report.kind, report.period_end.isoformat()): report for report in data.reports}


def debt_of(tags: dict[str, int]) -> Decimal | None:
    balance = {tag: [row(AT_YEAR_END, val)] for tag, val in tags.items()}
    return reports_of({"Revenues": [row(YEAR, 100)]} | balance)["year", "2024-12-31"].total_debt


def metrics_of(tags: dict[str, list[dict[str, Any]]]) -> dict[str, Metric]:
    return read_fundamentals(facts_of(tags), origin).metrics


def origin(accession: str | None) -> Provenance:
    return Provenance(
        source="edgar", url=f"https://x/{accession}", accession=accession, fetched_at="", call_id="1", kind=Kind.FILING
    )


def test_it_takes_the_period_from_the_dates_and_not_from_the_filings_fiscal_period() -> None:
    repeated = row(YEAR, 100, filed="2026-02-01", fy=2025)
    reports = reports_of(
        {"Revenues": [row(YEAR, 100), repeated, row(("2025-01-01", "2025-12-31"), 120, filed="2026-02-01", fy=2025)]}
    )
    assert {key: report.fiscal_label for key, report in reports.items()} == {
        ("year", "2024-12-31"): "FY2024",
        ("year", "2025-12-31"): "FY2025",
    }
    assert reports["year", "2024-12-31"].accession == "0000000042-25-020100"


def test_it_gives_no_fiscal_label_rather_than_a_wrong_one() -> None:
    reports = reports_of(
        {"Revenues": [row(Q1, 20, filed="2024-05-01", form="10-Q", fp="FY"), row(Q2, 30, fy=None, fp=None)]}
    )
    assert [report.fiscal_label for report in reports.values()] == [None, None]


def test_it_gives_no_fiscal_label_where_one_filing_says_two() -> None:
    reports = reports_of({"Revenues": [row(YEAR, 100)], "NetIncomeLoss": [row(YEAR, 10, fy=2023)]})
    assert reports["year", "2024-12-31"].fiscal_label is None


def test_it_tells_a_quarter_from_the_nine_months_that_end_with_it() -> None:
    reports = reports_of({"NetIncomeLoss": [row(NINE_MONTHS, 84, form="10-Q"), row(Q3, 23, form="10-Q")]})
    assert {key: report.net_income for key, report in reports.items()} == {("quarter", "2024-09-30"): 23}


def test_it_derives_the_fourth_quarter_but_not_its_earnings_per_share() -> None:
    flows = [row(YEAR, 100), row(NINE_MONTHS, 70, filed="2024-11-01", form="10-Q")]
    fourth = reports_of({"Revenues": flows, "NetIncomeLoss": flows, "EarningsPerShareDiluted": flows})[
        "quarter", "2024-12-31"
    ]
    assert (fourth.derived, fourth.period_start, fourth.fiscal_label) == (True, date(2024, 10, 1), "FY2024 Q4")
    assert [fourth.revenue, fourth.net_income, fourth.eps_diluted] == [30, 30, None]
    assert (fourth.accession, fourth.other_accessions) == ("0000000042-25-020100", ("0000000042-24-110100",))


def test_it_prefers_a_reported_fourth_quarter_to_a_derived_one() -> None:
    reports = reports_of({"Revenues": [row(YEAR, 100), row(NINE_MONTHS, 70), row(("2024-10-01", "2024-12-31"), 31)]})
    fourth = reports["quarter", "2024-12-31"]
    assert fourth.revenue == 31
    assert not fourth.derived


def test_what_a_bought_business_brought_since_is_no_quarter() -> None:
    """Some filers tell it under the tag of the whole, and it may be about as long as a quarter."""
    since_bought = ("2024-10-05", "2024-12-31")
    reports = reports_of({"Revenues": [row(YEAR, 100), row(NINE_MONTHS, 70), row(since_bought, 3)]})
    assert reports["quarter", "2024-12-31"].revenue == 30


def test_it_takes_a_quarter_for_one_though_its_first_day_is_a_slip() -> None:
    reports = reports_of({"Revenues": [row(YEAR, 100), row(NINE_MONTHS, 70), row(("2024-10-02", "2024-12-31"), 31)]})
    assert reports["quarter", "2024-12-31"].revenue == 31


def test_it_knows_the_long_last_quarter_of_a_retailer() -> None:
    stretches = [(("2024-09-02", "2025-08-31"), 270), (("2024-09-02", "2025-05-11"), 180)]
    reports = reports_of({"Revenues": [row(*stretch, filed="2025-10-01") for stretch in stretches]})
    assert reports["quarter", "2025-08-31"].revenue == 90


def test_it_takes_no_trailing_year_of_a_quarter_for_a_fiscal_year() -> None:
    trailing = row(("2023-04-01", "2024-03-31"), 95, filed="2024-05-01", form="10-Q")
    reports = reports_of({"NetIncomeLoss": [trailing, row(Q1, 20, filed="2024-05-01", form="10-Q")]})
    assert list(reports) == [("quarter", "2024-03-31")]


def test_it_lets_the_latest_filing_win_unless_it_only_rounds() -> None:
    later = "2025-05-01"
    balance = [row(AT_YEAR_END, 90_678_000_000), row(AT_YEAR_END, 90_700_000_000, filed=later)]
    flows = [row(YEAR, 1_000), row(YEAR, 1_100, filed=later)]
    year = reports_of({"Revenues": flows, "StockholdersEquity": balance})["year", "2024-12-31"]
    assert [year.revenue, year.equity] == [1_100, 90_678_000_000]
    assert (year.accession, year.other_accessions) == ("0000000042-25-050100", ("0000000042-25-020100",))


def test_it_drops_earnings_per_share_of_shares_before_a_split() -> None:
    before, old = ("2023-01-01", "2023-12-31"), ("2022-01-01", "2022-12-31")
    eps = [
        row(old, 8.0, filed="2024-02-01"),
        row(before, 11.93, filed="2024-02-01"),
        row(before, 1.19, filed="2025-02-01"),
        row(YEAR, 2.94, filed="2025-02-01"),
        row(Q1, 5.98, filed="2024-05-01", form="10-Q"),
        row(Q2, 0.67, filed="2024-08-01", form="10-Q"),
        row(("2023-04-01", "2023-06-30"), 2.48, filed="2023-08-01", form="10-Q"),
        row(("2023-04-01", "2023-06-30"), 0.25, filed="2024-08-01", form="10-Q"),
        row(Q1, 0.6, filed="2025-05-01", form="10-Q"),
    ]
    income = [row(period, 100) for period in (old, before, YEAR, Q1, Q2)]
    reports = reports_of({"NetIncomeLoss": income, "EarningsPerShareDiluted": eps})
    assert {key: report.eps_diluted for key, report in reports.items()} == {
        ("year", "2024-12-31"): Decimal("2.94"),
        ("quarter", "2024-06-30"): Decimal("0.67"),
        ("quarter", "2024-03-31"): Decimal("0.6"),
        ("year", "2023-12-31"): Decimal("1.19"),
        ("year", "2022-12-31"): None,
    }


def test_it_follows_a_company_from_one_tag_to_the_next() -> None:
    old = [row(("2022-01-01", "2022-12-31"), 80), row(("2023-01-01", "2023-12-31"), 91)]
    new = [row(("2023-01-01", "2023-12-31"), 90), row(YEAR, 100)]
    for first, second in permutations(("Revenues", "RevenueFromContractWithCustomerExcludingAssessedTax")):
        reports = reports_of({first: old, second: new})
        assert [report.revenue for report in reports.values()] == [100, 90, 80]


def test_a_balance_of_another_day_does_not_put_a_lesser_tag_first() -> None:
    """A balance sheet's line, and a part of it that a note also gives of a day after the year."""
    metrics = metrics_of(
        {
            "Revenues": [row(YEAR, 100)],
            "CashAndCashEquivalentsAtCarryingValue": [row(AT_YEAR_END, 90)],
            "Cash": [row(AT_YEAR_END, 5), row(AFTER_YEAR_END, 7)],
        }
    )
    assert metrics["cash"].value == 90


def test_it_never_subtracts_the_figures_of_two_tags() -> None:
    reports = reports_of({"NetIncomeLoss": [row(YEAR, 100)], "ProfitLoss": [row(NINE_MONTHS, 75)]})
    assert list(reports) == [("year", "2024-12-31")]


def test_it_computes_gross_profit_where_none_is_filed() -> None:
    assert (
        reports_of({"Revenues": [row(YEAR, 100)], "CostOfRevenue": [row(YEAR, 60)]})["year", "2024-12-31"].gross_profit
        == 40
    )


def test_it_leaves_the_share_of_minorities_out() -> None:
    flows = {"NetIncomeLoss": [row(YEAR, 10)], "ProfitLoss": [row(YEAR, 12)]}
    with_minorities = "StockholdersEquityIncludingPortionAttributableToNoncontrollingInterest"
    year = reports_of(flows | {"StockholdersEquity": [row(AT_YEAR_END, 50)], with_minorities: [row(AT_YEAR_END, 60)]})
    assert [year["year", "2024-12-31"].net_income, year["year", "2024-12-31"].equity] == [10, 50]


@pytest.mark.parametrize(
    ("tags", "debt"),
    [
        ({"LongTermDebtNoncurrent": 70, "LongTermDebtCurrent": 10, "CommercialPaper": 5}, 85),
        ({"LongTermDebtNoncurrent": 70, "DebtCurrent": 10, "LongTermDebtCurrent": 10}, 80),
        ({"LongTermDebtNoncurrent": 70, "ShortTermBorrowings": 10, "LongTermDebtCurrent": 10}, 80),
        ({"LongTermDebtNoncurrent": 70, "ShortTermBorrowings": 15, "CommercialPaper": 5}, 85),
        ({"LongTermDebtNoncurrent": 70, "CommercialPaper": 5, "OtherShortTermBorrowings": 3}, 78),
        ({"LongTermDebtNoncurrent": 70, "LongTermDebt": 71}, 70),
        ({"LongTermDebtNoncurrent": 70, "LongTermDebt": 99}, None),
        ({"LongTermDebtNoncurrent": 70, "LongTermDebt": 75, "LongTermDebtCurrent": 0}, 70),
        ({"LongTermDebt": 99, "CommercialPaper": 5}, 104),
        ({"LongTermDebt": 99, "LongTermDebtCurrent": 10, "CommercialPaper": 5}, None),
        ({"LongTermDebt": 80, "DebtLongtermAndShorttermCombinedAmount": 90}, 90),
        ({"SecuredLongTermDebt": 30, "LongTermLineOfCredit": 0, "LongTermDebtCurrent": 4}, 34),
        ({"SecuredLongTermDebt": 30, "LongTermLineOfCredit": 20}, None),
        ({"ConvertibleDebtNoncurrent": 0}, 0),
        ({"DebtCurrent": 10}, None),
        ({}, None),
    ],
)
def test_it_adds_debt_once_and_invents_none(tags: dict[str, int], debt: int | None) -> None:
    assert debt_of(tags) == debt


def test_it_reckons_in_the_currency_the_company_reports_in() -> None:
    units = {"CNY": [row(YEAR, 700), row(Q1, 170)], "USD": [row(YEAR, 100)]}
    body = {"cik": 42, "facts": {"us-gaap": {"Revenues": {"units": units}}}}
    facts = parse_company_facts(json.dumps(body).encode(), fundamental_analysis.CONCEPTS)
    assert facts.currency == "CNY"
    assert read_fundamentals(facts, origin).metrics["revenue_ttm"].unit == "CNY"


def test_it_adds_this_years_part_to_the_year_and_takes_last_years_off() -> None:
    flows = [
        row(YEAR, 100),
        row(Q1, 20, form="10-Q"),
        row(("2025-01-01", "2025-03-31"), 25, filed="2025-05-01", form="10-Q"),
    ]
    capital = [row(YEAR, 10), row(Q1, 2), row(("2025-01-01", "2025-03-31"), 4, filed="2025-05-01")]
    metrics = metrics_of(
        {
            "Revenues": flows,
            "NetCashProvidedByUsedInOperatingActivities": flows,
            "PaymentsToAcquirePropertyPlantAndEquipment": capital,
        }
    )
    assert [metrics["revenue_ttm"].value, metrics["free_cash_flow_ttm"].value] == [105, 93]
    assert metrics["revenue_ttm"].as_of == date(2025, 3, 31)
    assert metrics["revenue_ttm"].provenance.accession == "0000000042-25-050100"


def test_it_adds_four_quarters_where_no_year_is_filed() -> None:
    quarters = [row(period, 10, form="10-Q") for period in (Q1, Q2, Q3, ("2023-10-01", "2023-12-31"))]
    assert metrics_of({"Revenues": quarters})["revenue_ttm"].value == 40
    assert metrics_of({"Revenues": quarters[:3]})["revenue_ttm"].value is None


@pytest.mark.parametrize(("shares", "eps"), [(10.5, Decimal("-0.6")), (40, None)])
def test_it_takes_no_part_off_a_years_earnings_per_share_of_other_shares(shares: float, eps: Decimal | None) -> None:
    """A listing late in the year: its 1.20 are of four times the shares of the 4.20 of its first nine months."""
    part = ("2025-01-01", "2025-09-30")
    stretches = ((YEAR, "2025-02-01"), (NINE_MONTHS, "2024-11-01"), (part, "2025-11-01"))
    lost, counts = (-1.2, -0.9, -0.3), (shares, 10, 42)
    metrics = metrics_of(
        {
            "NetIncomeLoss": [row(stretch, -10, filed=filed) for stretch, filed in stretches]
            + [row(("2025-07-01", "2025-09-30"), -3, filed="2025-11-01")],
            "EarningsPerShareDiluted": [row(s, v, filed=f) for (s, f), v in zip(stretches, lost, strict=True)],
            "WeightedAverageNumberOfDilutedSharesOutstanding": [
                row(s, v, filed=f) for (s, f), v in zip(stretches, counts, strict=True)
            ],
        }
    )
    assert metrics["eps_diluted_ttm"].value == eps


@pytest.mark.parametrize(("shares", "count"), [(20_000_000, 20_000_000), (20_000, None), (20_000_000_000, None)])
def test_a_count_of_shares_that_its_own_filing_contradicts_a_thousandfold_is_none(
    shares: int, count: int | None
) -> None:
    metrics = metrics_of(
        {
            "NetIncomeLoss": [row(YEAR, 40_000_000)],
            "EarningsPerShareDiluted": [row(YEAR, 2)],
            "WeightedAverageNumberOfDilutedSharesOutstanding": [row(YEAR, shares)],
        }
    )
    assert metrics["shares_diluted"].value == count


def test_a_gross_profit_above_revenue_is_of_something_else() -> None:
    tags = {"Revenues": [row(YEAR, 100)], "GrossProfit": [row(YEAR, 120)]}
    assert reports_of(tags)["year", "2024-12-31"].gross_profit is None
    assert metrics_of(tags)["gross_margin"].value is None


def test_it_leaves_a_ratio_to_nothing_or_less_unknown() -> None:
    flows = {"Revenues": [row(YEAR, 0)], "NetIncomeLoss": [row(YEAR, -10)]}
    metrics = metrics_of(
        flows | {"StockholdersEquity": [row(AT_YEAR_END, -5)], "LongTermDebtNoncurrent": [row(AT_YEAR_END, 7)]}
    )
    assert [metrics[name].value for name in ("net_margin", "roe", "debt_to_equity")] == [None, None, None]
    assert [metrics[name].value for name in ("net_income_ttm", "equity", "total_debt")] == [-10, -5, 7]


@pytest.mark.parametrize(
    "change",
    [{"val": "100"}, {"val": True}, {"end": "2024-13-01"}, {"accn": "../.."}, {"start": "2025-06-01"}, {"filed": 2}],
    ids=str,
)
def test_it_says_nothing_of_a_period_of_which_a_row_cannot_be_read(change: dict[str, Any]) -> None:
    """It may have been a restatement: the older value would pass for the newest."""
    last_year = ("2023-01-01", "2023-12-31")
    rows = [row(YEAR, 100), row(YEAR, 90, filed="2026-02-01") | change]
    contracts = {"RevenueFromContractWithCustomerExcludingAssessedTax": [row(YEAR, 80)]}
    income = {"NetIncomeLoss": [row(YEAR, 10), row(last_year, 9)]}
    reports = reports_of({"Revenues": [*rows, row(last_year, 95)]} | contracts | income)
    year, before = reports["year", "2024-12-31"], reports["year", "2023-12-31"]
    assert [year.revenue, year.net_income, before.net_income] == [None, 10, 9]
    assert before.revenue == (None if "end" in change else 95)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"cik": 42, "entityName": "Small", "facts": {}}', Reason.NO_DATA),
        (b'{"cik": 42, "facts": {"dei": {"EntityPublicFloat": {"units": {"USD": []}}}}}', Reason.NO_DATA),
        (b'{"cik": 42, "facts": []}', Reason.UNREADABLE),
        (b'{"facts": {}}', Reason.UNREADABLE),
        (b'{"cik": "nobody", "facts": {}}', Reason.UNREADABLE),
    ],
)
def test_it_says_when_companyfacts_hold_nothing(body: bytes, reason: Reason) -> None:
    with pytest.raises(ParseError) as caught:
        parse_company_facts(body, earnings.CONCEPTS)
    assert caught.value.reason is reason


def test_a_date_that_names_a_week_is_none() -> None:
    assert as_date("2025-01-31") == date(2025, 1, 31)
    assert [as_date(text) for text in ("2025-W01-1", "2025-13-01", "20250131", "2025-1-31 ", None)] == [None] * 5


def test_it_says_when_no_quarter_and_no_year_is_reported() -> None:
    facts = facts_of({"StockholdersEquity": [row(AT_YEAR_END, 5)]})
    for read in (
        lambda: read_earnings(facts, Submissions(42, "Small", (), ()), origin),
        lambda: read_fundamentals(facts, origin),
    ):
        with pytest.raises(ParseError, match="Small") as caught:
            read()
        assert caught.value.reason is Reason.NO_DATA


@given(st.integers(-(10**29), 10**29) | st.floats(-1e29, 1e29))
def test_every_number_that_is_read_can_be_written(value: float) -> None:
    """Also the sum of some: JSON's integers end at 64 bits, and what is larger is no amount."""

    class Sum(Record):
        value: Number

    number = as_number(value)
    if number is not None:
        content_hash(Sum(value=9 * number))
    assert (number is None) == (abs(value) >= 10**18)
