"""Figures that look alike and are not: of another basis, another owner, another tag. The company is invented."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from scheduler_service.parsers import fundamental_analysis
from scheduler_service.parsers.fundamental_analysis import read_fundamentals
from scheduler_service.parsers.xbrl import parse_company_facts
from tests.unit.test_edgar_traps import (
    AT_YEAR_END,
    NINE_MONTHS,
    Q1,
    YEAR,
    debt_of,
    facts_of,
    metrics_of,
    origin,
    reports_of,
    row,
)

BEFORE = ("2023-01-01", "2023-12-31")
NEXT_Q1 = ("2025-01-01", "2025-03-31")
RECAST = "2026-02-01"


def test_it_derives_no_quarter_from_a_year_restated_without_its_nine_months() -> None:
    flows = [row(YEAR, 100), row(NINE_MONTHS, 70, filed="2024-11-01", form="10-Q"), row(YEAR, 60, filed=RECAST)]
    assert list(reports_of({"Revenues": flows})) == [("year", "2024-12-31")]
    both = [*flows, row(NINE_MONTHS, 40, filed="2025-11-01", form="10-Q")]
    assert reports_of({"Revenues": both})["quarter", "2024-12-31"].revenue == 20


def test_it_adds_up_no_twelve_months_of_which_some_were_restated() -> None:
    """A business was sold: the new quarter and last year's no longer hold it, the year still does."""
    flows = [
        row(YEAR, 100),
        row(Q1, 20, filed="2024-05-01", form="10-Q"),
        row(Q1, 12, filed="2025-05-01", form="10-Q"),
        row(NEXT_Q1, 15, filed="2025-05-01", form="10-Q"),
    ]
    assert metrics_of({"Revenues": flows})["revenue_ttm"].value is None
    assert metrics_of({"Revenues": [*flows, row(YEAR, 70, filed="2025-05-02")]})["revenue_ttm"].value == 73


def test_it_bridges_two_tags_only_where_they_agree() -> None:
    old = [row(YEAR, 100), row(Q1, 20, filed="2024-05-01", form="10-Q")]
    new = [row(NEXT_Q1, 25, filed="2025-05-01", form="10-Q"), row(Q1, 20, filed="2025-05-01", form="10-Q")]
    contracts = "RevenueFromContractWithCustomerExcludingAssessedTax"
    assert metrics_of({"Revenues": old, contracts: new})["revenue_ttm"].value == 105
    subset = [new[0], new[1] | {"val": 11}]
    assert metrics_of({"Revenues": old, contracts: subset})["revenue_ttm"].value is None


def test_a_period_that_lost_its_start_does_not_bring_back_what_it_replaced() -> None:
    flows = [row(BEFORE, 90), row(YEAR, 100), row(YEAR, 95, filed=RECAST)]
    del flows[2]["start"]
    reports = reports_of({"Revenues": flows, "NetIncomeLoss": [row(YEAR, 10)]})
    assert reports["year", "2024-12-31"].revenue is None
    assert reports["year", "2023-12-31"].revenue == 90


@pytest.mark.parametrize(
    "content", [{"units": {"usd": [row(YEAR, 100)]}}, {"units": {"USD": "rows"}}, {"unit": {}}, []]
)
def test_no_other_tag_stands_in_for_one_that_cannot_be_read(content: object) -> None:
    contracts = {"units": {"USD": [row(YEAR, 80)]}}
    tags = {"Revenues": content, "RevenueFromContractWithCustomerExcludingAssessedTax": contracts}
    body = {"cik": 42, "facts": {"us-gaap": tags | {"NetIncomeLoss": {"units": {"USD": [row(YEAR, 10)]}}}}}
    facts = parse_company_facts(json.dumps(body).encode(), fundamental_analysis.CONCEPTS)
    metrics = read_fundamentals(facts, origin).metrics
    assert [metrics[name].value for name in ("revenue_ttm", "net_income_ttm")] == [None, 10]


def test_the_revenue_of_a_bank_is_what_interest_leaves_and_its_fees() -> None:
    bank = {"InterestIncomeExpenseNet": [row(YEAR, 60)], "NoninterestIncome": [row(YEAR, 25)]}
    year = reports_of(bank | {"NetIncomeLoss": [row(YEAR, 20)]})["year", "2024-12-31"]
    assert [year.revenue, year.gross_profit] == [85, None]
    assert metrics_of(bank)["net_margin"].value is None
    assert reports_of(bank | {"Revenues": [row(YEAR, 90)]})["year", "2024-12-31"].revenue == 90
    assert (
        reports_of({"NetIncomeLoss": [row(YEAR, 20)], "NoninterestIncome": [row(YEAR, 25)]})[
            "year", "2024-12-31"
        ].revenue
        is None
    )


@pytest.mark.parametrize(
    ("minorities", "profit"),
    [({}, 12), ({"NetIncomeLossAttributableToNoncontrollingInterest": [row(YEAR, 2)]}, 10)],
    ids=["none", "known"],
)
def test_the_groups_profit_is_the_shareholders_only_without_minorities(minorities: dict[str, Any], profit: int) -> None:
    reports = reports_of({"Revenues": [row(YEAR, 100)], "ProfitLoss": [row(YEAR, 12)]} | minorities)
    assert reports["year", "2024-12-31"].net_income == profit


def test_it_takes_no_groups_profit_where_the_share_of_minorities_is_not_known() -> None:
    told_before = {"NetIncomeLossAttributableToNoncontrollingInterest": [row(BEFORE, 2)]}
    reports = reports_of({"Revenues": [row(YEAR, 100)], "ProfitLoss": [row(YEAR, 12)]} | told_before)
    assert reports["year", "2024-12-31"].net_income is None


def test_the_groups_equity_is_the_shareholders_less_that_of_minorities() -> None:
    group = {"StockholdersEquityIncludingPortionAttributableToNoncontrollingInterest": [row(AT_YEAR_END, 60)]}
    flows = {"Revenues": [row(YEAR, 100)]}
    assert reports_of(flows | group)["year", "2024-12-31"].equity == 60
    minorities = {"MinorityInterest": [row(AT_YEAR_END, 9)]}
    assert reports_of(flows | group | minorities)["year", "2024-12-31"].equity == 51


def test_paper_that_was_issued_but_is_not_stated_leaves_debt_unknown() -> None:
    flows = {"Revenues": [row(YEAR, 100)], "ProceedsFromRepaymentsOfCommercialPaper": [row(YEAR, 3)]}
    long_term = {"LongTermDebtNoncurrent": [row(AT_YEAR_END, 70)]}
    assert reports_of(flows | long_term)["year", "2024-12-31"].total_debt is None
    paper = {"CommercialPaper": [row(AT_YEAR_END, 5)]}
    assert reports_of(flows | long_term | paper)["year", "2024-12-31"].total_debt == 75
    assert debt_of({"LongTermDebtNoncurrent": 70}) == 70


def test_cash_that_is_restricted_is_no_cash() -> None:
    restricted = "CashCashEquivalentsRestrictedCashAndRestrictedCashEquivalents"
    assert metrics_of({"Revenues": [row(YEAR, 100)], restricted: [row(AT_YEAR_END, 9)]})["cash"].value is None


def test_the_currency_is_that_of_the_flows_and_not_of_the_newest_loan() -> None:
    units = {"LongTermDebtNoncurrent": {"USD": [row((None, "2025-03-01"), 5)]}, "Revenues": {"TWD": [row(YEAR, 700)]}}
    body = {"cik": 42, "facts": {"us-gaap": {tag: {"units": of} for tag, of in units.items()}}}
    assert parse_company_facts(json.dumps(body).encode(), fundamental_analysis.CONCEPTS).currency == "TWD"


def test_a_split_is_also_seen_by_the_count_of_shares() -> None:
    """Earnings near nothing do not show it."""
    eps = [row(BEFORE, -0.01, filed="2024-02-01"), row(YEAR, -0.02)]
    shares = [row(BEFORE, 10, filed="2024-02-01"), row(BEFORE, 100), row(YEAR, 101)]
    reports = reports_of(
        {
            "NetIncomeLoss": [row(BEFORE, -1), row(YEAR, -2)],
            "EarningsPerShareDiluted": eps,
            "WeightedAverageNumberOfDilutedSharesOutstanding": shares,
        }
    )
    assert [report.eps_diluted for report in reports.values()] == [Decimal("-0.02"), None]


@pytest.mark.parametrize(
    ("old", "new"),
    [(2.40, 1.92), (3.00, 2.25), (6.00, 5.00), (0.03, 0.01)],
    ids=["five for four", "four for three", "six for five", "three for one, of cents"],
)
def test_a_small_split_or_one_of_small_earnings_mixes_no_bases(old: float, new: float) -> None:
    """What no later filing repeats stays on the old basis, and is unknown."""
    quarter, unrepeated = ("2024-07-01", "2024-09-30"), ("2024-04-01", "2024-06-30")
    eps = [
        row(unrepeated, old, filed="2024-08-01", form="10-Q"),
        row(quarter, old, filed="2024-11-01", form="10-Q"),
        row(quarter, new, filed="2025-11-01", form="10-Q"),
        row(("2025-07-01", "2025-09-30"), new, filed="2025-11-01", form="10-Q"),
    ]
    income = [row(period, 100, filed="2025-11-01") for period in (unrepeated, quarter, ("2025-07-01", "2025-09-30"))]
    reports = reports_of({"NetIncomeLoss": income, "EarningsPerShareDiluted": eps})
    assert [report.eps_diluted for report in reports.values()] == [Decimal(str(new)), Decimal(str(new)), None]


@pytest.mark.parametrize(("old", "new"), [(2.40, 2.35), (2.40, 2.20), (0.05, 0.04), (2.40, 2.04)])
def test_a_correction_is_no_split(old: float, new: float) -> None:
    eps = [row(BEFORE, old, filed="2024-02-01"), row(BEFORE, new), row(("2022-01-01", "2022-12-31"), 1.5)]
    eps[-1]["filed"] = "2024-02-01"
    income = [row(period, 100) for period in (BEFORE, ("2022-01-01", "2022-12-31"))]
    reports = reports_of({"NetIncomeLoss": income, "EarningsPerShareDiluted": eps})
    assert [report.eps_diluted for report in reports.values()] == [Decimal(str(new)), Decimal("1.5")]


def test_shares_once_counted_in_thousands_are_no_split() -> None:
    eps = [row(BEFORE, 1.5, filed="2024-02-01"), row(YEAR, 1.6)]
    shares = [row(BEFORE, 100, filed="2024-02-01"), row(BEFORE, 100_000), row(YEAR, 101_000)]
    reports = reports_of(
        {
            "NetIncomeLoss": [row(BEFORE, 150_000), row(YEAR, 160_000)],
            "EarningsPerShareDiluted": eps,
            "WeightedAverageNumberOfDilutedSharesOutstanding": shares,
        }
    )
    assert [report.eps_diluted for report in reports.values()] == [Decimal("1.6"), Decimal("1.5")]


def test_each_metric_names_the_filings_of_all_its_inputs() -> None:
    flows = [row(YEAR, 100), row(Q1, 20, filed="2024-05-01", form="10-Q"), row(NEXT_Q1, 25, filed="2025-05-01")]
    balance = {
        "Assets": [row((None, "2025-03-31"), 400, filed="2025-05-01")],
        "StockholdersEquity": [row((None, "2025-03-31"), 150, filed="2025-05-01")],
        "LongTermDebtNoncurrent": [row((None, "2025-03-31"), 60, filed="2025-05-01")],
    }
    taxes = [item | {"val": item["val"] / 10} for item in flows]
    names = ("Revenues", "NetIncomeLoss", "OperatingIncomeLoss")
    metrics = metrics_of({**dict.fromkeys(names, flows), "IncomeTaxExpenseBenefit": taxes, **balance})
    bridged = ("0000000042-25-050100", "0000000042-25-020100", "0000000042-24-050100")
    assert [metrics[name].accessions for name in ("revenue_ttm", "roa", "equity")] == [bridged, bridged, bridged[:1]]
    assert metrics["roa"].value == Decimal("0.2625")
    assert metrics["roic"].value == Decimal("0.45")  # 105 less tax of 10.5, on 210


def test_the_newest_figures_decide_what_a_metric_is_as_of() -> None:
    old = {"Revenues": [row(BEFORE, 90)], "NetIncomeLoss": [row(YEAR, 12)]}
    metrics = read_fundamentals(facts_of(old), origin).metrics
    assert metrics["net_income_ttm"].as_of == date(2024, 12, 31)
    assert metrics["revenue_ttm"].value is None


@pytest.mark.parametrize(
    ("second", "revenue"),
    [(100, 100), (100.04, Decimal("100.04")), (104, 104), (154, None), (0, None), (-100, None)],
)
def test_two_values_of_one_filing_that_differ_are_no_value(second: float, revenue: Decimal | None) -> None:
    for rows in ([row(YEAR, 100), row(YEAR, second)], [row(YEAR, second), row(YEAR, 100)]):
        reports = reports_of({"Revenues": rows, "NetIncomeLoss": [row(YEAR, 10)]})
        assert reports["year", "2024-12-31"].revenue == revenue


@pytest.mark.parametrize("slip", [-100, 100_000, 0.1])
def test_a_sign_or_a_scale_that_one_filing_alone_gives_is_no_restatement(slip: float) -> None:
    def revenue(*values: float, form: str = "10-K") -> Decimal | None:
        filed = ("2025-02-01", "2026-02-01", "2027-02-01")
        forms = ("10-K", form, form)
        rows = [row(YEAR, v, filed=day, form=f) for v, day, f in zip(values, filed, forms, strict=False)]
        return reports_of({"Revenues": rows, "NetIncomeLoss": [row(YEAR, 10)]})["year", "2024-12-31"].revenue

    assert revenue(100, slip) is None
    assert revenue(slip, 100) is None
    assert revenue(slip, 100, 100) == 100
    assert revenue(100, 100, slip) is None
    assert revenue(slip, 100, form="10-K/A") == 100
    assert revenue(100, 95) == 95
