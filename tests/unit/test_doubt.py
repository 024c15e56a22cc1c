"""What is doubted, and what must not be: filings that come in, restate and split never are."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.errors import ParseError
from scheduler_service.models import Kind, Provenance
from scheduler_service.parsers import earnings, fundamental_analysis
from scheduler_service.parsers.doubt import altered, grew_old, of_another, shrank, together, zeroed
from scheduler_service.parsers.earnings import EarningsData, Report, doubt_earnings
from scheduler_service.parsers.fundamental_analysis import FundamentalsData, Metric, doubt_fundamentals
from scheduler_service.parsers.submissions import parse_submissions
from scheduler_service.parsers.xbrl import parse_company_facts
from scheduler_service.processors.news_processor import NewsProcessor
from scheduler_service.sandbox.bundle import bundled
from scheduler_service.sandbox.edgar import companyfacts, submissions

if TYPE_CHECKING:
    from scheduler_service.sandbox.company import Company

DAY = dt.date(2026, 6, 30)
CONCEPTS = tuple({*earnings.CONCEPTS, *fundamental_analysis.CONCEPTS})


def origin(accession: str | None = "0000320193-26-000001", cik: int = 320193, told: str = "2026-11-24") -> Provenance:
    url = f"https://www.sec.gov/Archives/edgar/data/{cik}/{accession}" if accession else "https://example.com/"
    return Provenance(
        source="edgar", url=url, accession=accession, fetched_at=f"{told}T00:00:00Z", call_id="1", kind=Kind.FILING
    )


def report(end: dt.date = DAY, accession: str | None = "0000320193-26-000001", **said: Any) -> Report:
    told: dict[str, Any] = {"revenue": Decimal(100), "net_income": Decimal(10), "currency": "USD", "filed": end}
    start = end - dt.timedelta(days=90)
    return Report(
        period_end=end,
        period_start=start,
        kind="quarter",
        accession=accession,
        provenance=origin(accession),
        **(told | said),
    )


def data(*reports: Report) -> EarningsData:
    return EarningsData(reports=reports)


def metrics(as_of: dt.date = DAY, told: Provenance | None = None, **values: int | None) -> FundamentalsData:
    figures = {
        name: Metric(
            value=None if value is None else Decimal(value),
            unit="USD",
            as_of=as_of,
            provenance=told or origin(),
            check="filing",
        )
        for name, value in values.items()
    }
    return FundamentalsData(metrics=figures)


@pytest.mark.parametrize("company", bundled(), ids=lambda company: company.profile.symbol)
def test_filings_that_come_in_one_by_one_are_never_doubted(company: Company) -> None:
    quarters: EarningsData | None = None
    standing: FundamentalsData | None = None
    of = partial(origin, cik=company.profile.cik)
    for filed, filing in enumerate(company.filings, start=1):
        try:
            facts = parse_company_facts(companyfacts(company, filed), CONCEPTS)
            then = earnings.read_earnings(facts, parse_submissions(submissions(company, filed)), of)
            now = fundamental_analysis.read_fundamentals(facts, of)
        except ParseError:
            assert quarters is None, "only the first filings hold no figures"
            continue
        if quarters is not None and standing is not None:
            assert doubt_earnings(quarters, then) is None, filing
            assert doubt_fundamentals(standing, now) is None, filing
        quarters, standing = then, now
    assert quarters is not None


def test_a_figure_that_changes_without_a_filing_is_named_with_both_values() -> None:
    said = doubt_earnings(data(report(revenue=Decimal(94_000))), data(report(revenue=Decimal(47_000))))
    assert said == "revenue of 2026-06-30 is 47,000, was 94,000, and no new filing says so"
    assert doubt_fundamentals(metrics(cash=94), metrics(cash=47)) == "cash is 47, was 94, and no new filing says so"


def test_a_restatement_brings_its_filing() -> None:
    old, new = report(), report(accession="0000320193-26-000009", filed=DAY + dt.timedelta(days=90), revenue=Decimal(5))
    assert doubt_earnings(data(old), data(new)) is None
    other = report(other_accessions=("0000320193-26-000009",), filed=DAY, equity=Decimal(5))
    assert doubt_earnings(data(report(equity=Decimal(90))), data(other)) is None
    assert doubt_fundamentals(metrics(cash=94), metrics(cash=47, told=origin("0000320193-26-000009"))) is None


def test_a_figure_of_an_older_filing_is_no_restatement() -> None:
    old = report(filed=DAY, accession="0000320193-26-000005")
    new = report(filed=DAY - dt.timedelta(days=90), accession="0000320193-26-000001", revenue=Decimal(5))
    assert "revenue" in (doubt_earnings(data(old), data(new)) or "")


def test_what_a_model_corrects_and_what_grows_unknown_is_not_doubted() -> None:
    assert doubt_earnings(data(report(accession=None)), data(report(accession=None, revenue=Decimal(50)))) is None
    assert doubt_earnings(data(report()), data(report(revenue=None))) is None


def test_a_report_of_the_future_makes_no_later_one_old() -> None:
    to_come = report(dt.date(2027, 3, 31), accession=None)
    assert doubt_earnings(data(to_come, report(accession=None)), data(report(accession=None))) is None
    older = doubt_earnings(data(report()), data(report(DAY - dt.timedelta(days=91))))
    assert older == "its newest report is of 2026-03-31, and was of 2026-06-30"


def test_another_company_s_filings_are_named() -> None:
    assert of_another([origin()], [origin(cik=1045810)]) == "its filings are of CIK 1045810, and were of CIK 320193"
    assert of_another([origin()], [origin(), origin(cik=1045810)]) is None
    assert of_another([origin(None)], [origin()]) is None, "a model's pages are nobody's filings"


def test_the_rules_one_by_one() -> None:
    assert shrank("reports", 8, 4) == "it holds 4 reports, and held 8"
    assert shrank("reports", 1, 0) == "it holds no reports, and held 1"
    assert (shrank("reports", 8, 5), shrank("reports", 3, 1), shrank("reports", 0, 0)) == (None, None, None)
    assert grew_old("report", None, DAY) is None
    assert altered([("EPS", Decimal("-1"), Decimal(1))]) == "EPS is 1, was -1, and no new filing says so"
    assert altered([("EPS", Decimal(100), Decimal(119)), ("cash", None, Decimal(1))]) is None
    four = {name: Decimal(5) for name in "abcd"}
    assert zeroed(four, dict.fromkeys("abcd", Decimal(0))) == "a is 0, was 5, b is 0, was 5, c is 0, was 5 and 1 more"
    assert zeroed(four, {**four, "a": Decimal(0), "b": Decimal(0)}) is None
    assert zeroed(four, dict.fromkeys("abcd")) is None, "unknown is not nothing"
    assert together(None, "one", "two") == "one; two"


def test_news_are_never_doubted_for_feeds_forget() -> None:
    processor = NewsProcessor({}, [])
    empty = processor.record()
    assert processor.doubt(empty, empty) is None
