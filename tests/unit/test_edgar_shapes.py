"""How companies of different trades and countries file their figures: invented ones, each with the tags of its kind."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from scheduler_service.models import Kind, Provenance
from scheduler_service.parsers import earnings, fundamental_analysis
from scheduler_service.parsers.debt_lines import DEBT
from scheduler_service.parsers.earnings import Report, read_earnings
from scheduler_service.parsers.fundamental_analysis import Metric, read_fundamentals
from scheduler_service.parsers.statements import CASH, OWNED
from scheduler_service.parsers.submissions import Filing, Submissions
from scheduler_service.parsers.xbrl import CompanyFacts, parse_company_facts

YEAR = ("2024-01-01", "2024-12-31")
LAST_YEAR = ("2023-01-01", "2023-12-31")
Q1, LAST_Q1 = ("2025-01-01", "2025-03-31"), ("2024-01-01", "2024-03-31")
AT_YEAR_END, AT_Q1 = (None, "2024-12-31"), (None, "2025-03-31")
ANNUAL, QUARTERLY = "2025-02-01", "2025-05-01"


def said(period: tuple[str | None, str], value: float, filed: str = ANNUAL, form: str = "10-K") -> dict[str, Any]:
    start, end = period
    accession = f"0000000042-{filed[2:4]}-{filed[5:7]}{filed[8:]}00"
    row = {"end": end, "val": value, "accn": accession, "fy": 2024, "fp": "FY", "form": form, "filed": filed}
    return row if start is None else {"start": start} | row


def facts_of(tags: dict[str, Any], currency: str = "USD", taxonomy: str = "us-gaap") -> CompanyFacts:
    """A value is one for the year, or at its end for a balance; else it is rows."""
    made = {}
    for name, value in tags.items():
        balance = name in BALANCES
        rows = value if isinstance(value, list) else [said(AT_YEAR_END if balance else YEAR, value)]
        per_share = "PerShare" in name
        made[name] = {"units": {f"{currency}/shares" if per_share else currency: rows}}
    body = json.dumps({"cik": 42, "entityName": "Small", "facts": {taxonomy: made}}).encode()
    return parse_company_facts(body, (*earnings.CONCEPTS, *fundamental_analysis.CONCEPTS))


def year_of(tags: dict[str, Any], currency: str = "USD", taxonomy: str = "us-gaap") -> Report:
    facts = facts_of(tags, currency, taxonomy)
    (report,) = (r for r in read_earnings(facts, Submissions(42, "Small", (), ()), origin).reports if r.kind == "year")
    return report


def metrics_of(tags: dict[str, Any], currency: str = "USD", taxonomy: str = "us-gaap") -> dict[str, Metric]:
    return read_fundamentals(facts_of(tags, currency, taxonomy), origin).metrics


def origin(accession: str | None) -> Provenance:
    return Provenance(
        source="edgar", url=f"https://x/{accession}", accession=accession, fetched_at="", call_id="1", kind=Kind.FILING
    )


BALANCES = frozenset(
    tag.partition(":")[2]
    for concept in (*DEBT, *OWNED, CASH)
    for tag in concept.tags
    if "Proceeds" not in tag and "Income" not in tag
)


@pytest.mark.parametrize(
    ("stated", "revenue"),
    [
        ({"Revenues": 158}, 158),
        ({"RevenuesNetOfInterestExpense": 158, "Revenues": 230}, 158),
        ({"InterestIncomeExpenseNet": 89, "NoninterestIncome": 69}, 158),
        ({"InterestAndDividendIncomeOperating": 170, "InterestExpense": 81, "NoninterestIncome": 69}, 158),
        ({"InterestAndDividendIncomeOperating": 170, "NoninterestIncome": 69}, None),
        ({"InterestIncomeExpenseNet": 89}, None),
    ],
    ids=["total", "net-total", "net-interest", "gross-interest", "no-expense", "no-fees"],
)
def test_the_revenue_of_a_bank_is_net_of_interest_paid(stated: dict[str, int], revenue: int | None) -> None:
    assert year_of(stated | {"NetIncomeLoss": 50}).revenue == revenue


def test_a_bank_owes_its_long_term_debt_and_what_it_borrowed_short() -> None:
    bank = {"Revenues": 158, "NetIncomeLoss": 50, "LongTermDebt": 391, "ShortTermBorrowings": 44}
    year = year_of(bank | {"CashAndDueFromBanks": 29})
    assert year.total_debt == 435
    assert year.gross_profit is None
    assert metrics_of(bank | {"CashAndDueFromBanks": 29})["cash"].value == 29


def test_interest_alone_makes_no_period_and_no_newer_day() -> None:
    newer = [said(YEAR, 4), said(Q1, 1, QUARTERLY, "10-Q")]
    stated = {"Revenues": 100, "NetIncomeLoss": 10, "InterestExpense": newer}
    assert metrics_of(stated)["revenue_ttm"].value == 100
    assert {r.period_end for r in read_earnings(facts_of(stated), Submissions(42, "", (), ()), origin).reports} == {
        date(2024, 12, 31)
    }


def test_an_oil_company_states_sales_beside_its_whole_revenue() -> None:
    sold = {"Revenues": 350, "RevenueFromContractWithCustomerExcludingAssessedTax": 339, "NetIncomeLoss": 34}
    assert year_of(sold | {"ProfitLoss": 35}).revenue == 350
    assert year_of(sold | {"ProfitLoss": 35}).net_income == 34


def test_the_sales_of_goods_are_not_the_whole_of_what_was_sold() -> None:
    """Of the year before, the tag that was the total then, not one that is a part of it and still in use."""
    goods = [said(LAST_YEAR, 80, "2024-02-01"), said(YEAR, 90)]
    total = {"Revenues": [said(LAST_YEAR, 86, "2024-02-01")], "SalesRevenueNet": [said(YEAR, 97)]}
    reports = read_earnings(
        facts_of({"SalesRevenueGoodsNet": goods} | total), Submissions(42, "Small", (), ()), origin
    ).reports
    assert [report.revenue for report in reports] == [97, 86]


@pytest.mark.parametrize(
    ("paid", "free"),
    [
        ({"PaymentsToAcquirePropertyPlantAndEquipment": 30}, 70),
        ({"PaymentsToAcquireProductiveAssets": 30}, 70),
        ({"PaymentsToAcquirePropertyPlantAndEquipment": 30, "PaymentsToAcquireOtherProductiveAssets": 2}, 70),
        ({"PaymentsToAcquirePropertyPlantAndEquipment": 5, "PaymentsToAcquireProductiveAssets": 30}, None),
        ({"PaymentsToAcquirePropertyPlantAndEquipment": 1, "PaymentsForConstructionInProcess": 28}, None),
        ({"PaymentsToAcquirePropertyPlantAndEquipment": -30}, None),
        ({"PaymentsToExploreAndDevelopOilAndGasProperties": 30}, None),
    ],
)
def test_free_cash_flow_is_unknown_where_most_was_paid_under_another_name(
    paid: dict[str, int], free: int | None
) -> None:
    flows = {"Revenues": 200, "NetCashProvidedByUsedInOperatingActivities": 100}
    assert metrics_of(flows | paid)["free_cash_flow_ttm"].value == free


def test_the_equity_of_a_partnership_is_its_partners_capital() -> None:
    facts = {"Revenues": 100, "NetIncomeLoss": 10, "PartnersCapital": 60, "MinorityInterest": 5}
    year = year_of(facts | {"PartnersCapitalIncludingPortionAttributableToNoncontrollingInterest": 65})
    assert year.equity == 60


@pytest.mark.parametrize(
    "sign",
    [
        "ComprehensiveIncomeNetOfTaxAttributableToNoncontrollingInterest",
        "NetIncomeLossAttributableToRedeemableNoncontrollingInterest",
    ],
)
def test_a_groups_profit_is_not_its_shareholders_where_others_earned_some_of_it(sign: str) -> None:
    assert year_of({"Revenues": 100, "ProfitLoss": 12, sign: 2}).net_income is None
    assert year_of({"Revenues": 100, "ProfitLoss": 12, sign: 0}).net_income == 12
    assert year_of({"Revenues": 100, "ProfitLoss": 12, "MinorityInterest": 1}).net_income == 12


@pytest.mark.parametrize(
    ("costs", "gross"),
    [
        ({"CostOfRevenue": 60}, 40),
        ({"CostOfGoodsAndServicesSold": 60}, 40),
        ({"CostOfRevenue": 60, "CostOfGoodsAndServicesSold": 50}, 40),
        ({"CostOfGoodsSold": 60}, 40),
        ({"CostOfGoodsSold": 60, "CostOfServices": 10}, None),
        ({"CostOfGoodsAndServicesSold": 11, "PolicyholderBenefitsAndClaimsIncurredNet": 66}, None),
        ({"CostOfGoodsAndServicesSold": 11, "PolicyholderBenefitsAndClaimsIncurredNet": 66, "GrossProfit": 23}, 23),
        ({}, None),
    ],
)
def test_gross_profit_is_revenue_less_all_of_its_cost(costs: dict[str, int], gross: int | None) -> None:
    assert year_of({"Revenues": 100, "NetIncomeLoss": 10} | costs).gross_profit == gross


def test_a_foreign_company_without_a_quarter_is_measured_by_its_year() -> None:
    metrics = metrics_of(
        {
            "RevenueFromContractsWithCustomers": [said(YEAR, 70, form="20-F")],
            "Revenue": [said(YEAR, 100, form="20-F"), said(LAST_YEAR, 80, form="20-F")],
            "ProfitLoss": [said(YEAR, 12, form="20-F")],
            "ProfitLossAttributableToNoncontrollingInterests": [said(YEAR, 2, form="20-F")],
            "DilutedEarningsLossPerShare": [said(YEAR, 4.5, form="20-F")],
            "CostOfSales": [said(YEAR, 55, form="20-F")],
            "CashAndCashEquivalents": [said(AT_YEAR_END, 30, form="20-F")],
            "Equity": [said(AT_YEAR_END, 60, form="20-F")],
        },
        "EUR",
        "ifrs-full",
    )
    told = [metrics[name].value for name in ("revenue_ttm", "net_income_ttm", "gross_margin", "cash", "equity")]
    assert told == [100, 10, Decimal("0.45"), 30, 60]
    assert metrics["revenue_ttm"].as_of == date(2024, 12, 31)
    assert metrics["eps_diluted_ttm"].unit == "EUR/share"


def half_years(**more: list[dict[str, Any]]) -> dict[str, Any]:
    half, last_half, at_half = ("2025-01-01", "2025-06-30"), ("2024-01-01", "2024-06-30"), (None, "2025-06-30")
    filed = "2025-08-10"
    flows = {"Revenue": (100, 46, 52), "ProfitLossAttributableToOwnersOfParent": (10, 4, 7)}
    return {
        tag: [said(YEAR, year, form="20-F"), said(last_half, old, filed, "6-K"), said(half, new, filed, "6-K")]
        for tag, (year, old, new) in flows.items()
    } | {"Equity": [said(at_half, 64, filed, "6-K"), said(AT_YEAR_END, 60, form="20-F")], **more}


def test_a_half_year_that_is_newer_than_the_year_makes_twelve_months_with_it() -> None:
    metrics = metrics_of(half_years(), "EUR", "ifrs-full")
    assert [metrics[name].value for name in ("revenue_ttm", "net_income_ttm", "equity")] == [106, 13, 64]
    assert {metric.as_of for metric in metrics.values()} == {date(2025, 6, 30)}
    assert metrics["revenue_ttm"].derived
    assert metrics["revenue_ttm"].accessions == ("0000000042-25-081000", "0000000042-25-020100")


def test_a_half_year_of_which_not_all_twelve_months_follow_leaves_them_to_the_year() -> None:
    income = half_years()["ProfitLossAttributableToOwnersOfParent"]
    for lesser in (income[:1], income[:2], income[::2]):
        tags = half_years(ProfitLossAttributableToOwnersOfParent=lesser)
        metrics = metrics_of(tags, "EUR", "ifrs-full")
        assert [metrics[name].value for name in ("revenue_ttm", "net_income_ttm", "equity")] == [100, 10, 60]
        assert {metric.as_of for metric in metrics.values()} == {date(2024, 12, 31)}


def test_a_dual_translation_is_read_in_the_currency_of_the_books() -> None:
    """A Chinese company adds the newest year in dollars to all of its years in yuan."""
    rows = [said(YEAR, 941, form="20-F"), said(LAST_YEAR, 868, form="20-F")]
    units = {"CNY": rows, "USD": [said(YEAR, 130, form="20-F")]}
    made = {"Revenues": {"units": units}, "NetIncomeLoss": {"units": {"CNY": rows, "USD": units["USD"]}}}
    body = json.dumps({"cik": "0000000042", "facts": {"us-gaap": made}}).encode()
    facts = parse_company_facts(body, (*earnings.CONCEPTS, *fundamental_analysis.CONCEPTS))
    assert read_fundamentals(facts, origin).metrics["revenue_ttm"].value == 941


def test_metrics_are_of_the_newest_quarter_with_figures_though_a_later_filing_has_none_of_them() -> None:
    """An amendment of the cover page alone, or figures of a later day such as a loan taken since."""
    flows = [said(YEAR, 100), said(LAST_Q1, 20, QUARTERLY, "10-Q"), said(Q1, 25, QUARTERLY, "10-Q")]
    tags = {
        "Revenues": flows,
        "NetIncomeLoss": flows,
        "StockholdersEquity": [said(AT_Q1, 50, QUARTERLY, "10-Q")],
        "LongTermDebtNoncurrent": [
            said(AT_Q1, 7, QUARTERLY, "10-Q"),
            said((None, "2025-05-15"), 30, "2025-06-01", "8-K"),
        ],
    }
    metrics = metrics_of(tags)
    assert metrics["revenue_ttm"].value == 105
    assert [metrics[name].value for name in ("total_debt", "equity")] == [7, 50]
    assert {metric.as_of for metric in metrics.values()} == {date(2025, 3, 31)}


def test_a_period_that_ends_after_its_filing_is_a_slip_and_makes_nothing_newest() -> None:
    slip = said(("2062-01-01", "2062-12-31"), 7)
    metrics = metrics_of({"Revenues": [said(YEAR, 100), slip], "NetIncomeLoss": [said(YEAR, 10), slip]})
    assert metrics["revenue_ttm"].value == 100
    assert metrics["revenue_ttm"].as_of == date(2024, 12, 31)


def test_a_retailers_year_has_three_short_quarters_and_a_long_one() -> None:
    """Twelve weeks three times, then sixteen."""
    starts = ("2024-09-02", "2024-11-25", "2025-02-17")
    ends = ("2024-11-24", "2025-02-16", "2025-05-11")
    quarters = [said((start, end), 60, "2025-06-01", "10-Q") for start, end in zip(starts, ends, strict=True)]
    part = said(("2024-09-02", "2025-05-11"), 180, "2025-06-01", "10-Q")
    year = said(("2024-09-02", "2025-08-31"), 270, "2025-10-01")
    facts = facts_of({"Revenues": [*quarters, part, year], "NetIncomeLoss": [*quarters, part, year]})
    reports = read_earnings(facts, Submissions(42, "Small", (), ()), origin).reports
    assert [report.revenue for report in reports] == [270, 90, 60, 60, 60]
    assert [report.derived for report in reports] == [False, True, False, False, False]


def test_classes_of_shares_with_earnings_of_their_own_leave_earnings_per_share_unknown() -> None:
    """Companyfacts leave out what is said of one class, so there is no row at all."""
    year = year_of({"Revenues": 371, "NetIncomeLoss": 89, "StockholdersEquity": 649})
    assert year.net_income == 89
    assert year.eps_diluted is None
    assert year.total_debt is None


def foreign_filings(*filings: tuple[str, str, str, str]) -> Submissions:
    """Of day, form, title, and "xbrl" or nothing."""
    made = [
        Filing(
            f"0000000042-25-{day[5:7]}{day[8:]}00",
            form,
            date.fromisoformat(day),
            None,
            (),
            "a.htm",
            title,
            xbrl == "xbrl",
        )
        for day, form, title, xbrl in filings
    ]
    return Submissions(42, "Small", (), tuple(made))


def test_a_foreign_companys_6_k_that_brought_figures_tells_their_results() -> None:
    half = said(("2025-01-01", "2025-06-30"), 55, "2025-08-10", "6-K")
    quarter = said(("2025-04-01", "2025-06-30"), 28, "2025-08-10", "6-K")
    facts = facts_of({"Revenue": [said(YEAR, 100, form="20-F"), half, quarter]}, "EUR", "ifrs-full")
    filings = foreign_filings(
        ("2025-08-10", "6-K", "6-K", "xbrl"), ("2025-08-09", "6-K", "6-K", ""), (ANNUAL, "20-F", "", "")
    )
    (release,) = read_earnings(facts, filings, origin).releases
    assert (release.form, release.about, release.period_end) == ("6-K", "results", date(2025, 6, 30))
    assert release.accession == quarter["accn"]


@pytest.mark.parametrize(
    ("title", "claimed"),
    [
        ("THIRD QUARTER 2025 RESULTS", True),
        ("Q3 2025 earnings release", True),
        ("Half-year results 2025", True),
        ("6-K", False),
        ("REPORT OF FOREIGN PRIVATE ISSUER", False),
        ("Notice of the date of third quarter results", False),
        ("Results of the annual general meeting", False),
        ("MONTHLY REVENUE, INTERIM RESULTS TO FOLLOW", False),
        ("Third quarter results presentation", False),
        ("Results of tender offer, first quarter", False),
    ],
)
def test_a_6_k_without_figures_is_results_only_where_its_title_says_so(title: str, *, claimed: bool) -> None:
    facts = facts_of({"Revenue": [said(YEAR, 100, form="20-F")]}, "EUR", "ifrs-full")
    found = read_earnings(facts, foreign_filings(("2025-08-10", "6-K", title, "")), origin).releases
    assert [(release.about, release.period_end) for release in found] == ([("results", None)] if claimed else [])
