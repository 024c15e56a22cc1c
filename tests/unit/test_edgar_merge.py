"""How contributions to earnings and fundamentals become one."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from scheduler_service.models import Contribution, Kind, Provenance
from scheduler_service.parsers.earnings import EarningsData, Estimate, NextReport, Release, Report, merge_earnings
from scheduler_service.parsers.fundamental_analysis import Analysis, FundamentalsData, Metric, merge_fundamentals


def said_by(kind: Kind) -> Provenance:
    return Provenance(source=kind.value, url=None, fetched_at="2026-01-01T00:00:00Z", call_id="1", kind=kind)


def report(source: Kind, end: date, revenue: int, **more: Any) -> Report:
    made: dict[str, Any] = {"kind": "quarter", "period_start": date(end.year, 1, 1), "net_income": None} | more
    return Report(
        period_end=end, revenue=Decimal(revenue), currency="USD", filed=end, provenance=said_by(source), **made
    )


def metric(kind: Kind, value: int | None) -> Metric:
    number = None if value is None else Decimal(value)
    check: Any = "filing" if kind is Kind.FILING else "unverified"
    return Metric(value=number, unit="USD", as_of=date(2026, 1, 1), provenance=said_by(kind), check=check)


def test_it_lets_the_better_source_win_each_period_whatever_the_order() -> None:
    filing = EarningsData(reports=(report(Kind.FILING, date(2025, 9, 27), 100),))
    feed = EarningsData(reports=(report(Kind.FEED, date(2025, 6, 28), 80),))
    model = EarningsData(
        reports=(
            report(Kind.MODEL, date(2025, 12, 31), 120),
            report(Kind.MODEL, date(2025, 9, 30), 101),
            report(Kind.MODEL, date(2025, 9, 30), 400, kind="year"),
            report(Kind.MODEL, date(2025, 6, 30), 81),
        ),
        next_report=NextReport(date=date(2026, 1, 29), source="model"),
    )
    said = [
        Contribution("edgar", Kind.FILING, filing),
        Contribution("rss", Kind.FEED, feed),
        Contribution("llm", Kind.MODEL, model),
    ]
    merged = [merge_earnings(order) for order in permutations(said)]
    assert [r.revenue for r in merged[0].reports] == [120, 400, 100, 80]
    assert merged[0].next_report == model.next_report
    assert all(other == merged[0] for other in merged)


def test_it_lists_each_announcement_once_newest_first() -> None:
    old, new = (Release(date=date(2025, month, 1), form="8-K", accession=str(month)) for month in (1, 4))
    one, two = EarningsData(releases=(old,)), EarningsData(releases=(new, old))
    said = [Contribution("edgar", Kind.FILING, one), Contribution("feeds", Kind.FEED, two)]
    assert merge_earnings(said).releases == (new, old)


def test_it_takes_each_metric_from_the_best_source_that_knows_it() -> None:
    filing = FundamentalsData(metrics={"cash": metric(Kind.FILING, 10), "roe": metric(Kind.FILING, None)})
    model = FundamentalsData(
        metrics={"cash": metric(Kind.MODEL, 11), "roe": metric(Kind.MODEL, 2), "beta": metric(Kind.MODEL, None)},
        analysis=Analysis(text="solid", sources=("https://example.com/a",), provenance=said_by(Kind.MODEL)),
    )
    said = [Contribution("edgar", Kind.FILING, filing), Contribution("llm", Kind.MODEL, model)]
    merged = merge_fundamentals(said)
    assert {name: m.value for name, m in merged.metrics.items()} == {"beta": None, "cash": 10, "roe": 2}
    assert merged.metrics["roe"].provenance.kind is Kind.MODEL
    assert merged.analysis == model.analysis
    assert merge_fundamentals(said[::-1]).model_dump_json() == merged.model_dump_json()


def next_report(month: int, *, confirmed: bool) -> NextReport:
    return NextReport(date=date(2026, month, 28), confirmed=confirmed, source="somebody")


def test_a_confirmed_date_is_better_than_an_expected_one_whoever_says_it() -> None:
    expected, confirmed = next_report(1, confirmed=False), next_report(2, confirmed=True)
    said = [
        Contribution("edgar", Kind.FILING, EarningsData(next_report=expected)),
        Contribution("llm", Kind.MODEL, EarningsData(next_report=confirmed)),
    ]
    assert [merge_earnings(order).next_report for order in permutations(said)] == [confirmed, confirmed]
    unsure = Contribution("llm", Kind.MODEL, EarningsData(next_report=next_report(2, confirmed=False)))
    assert merge_earnings([unsure, said[0]]).next_report == expected


@pytest.mark.parametrize("told_on", [date(2026, 1, 26), date(2026, 1, 29)])
def test_a_confirmed_date_is_over_once_results_were_told_on_it_or_days_before(told_on: date) -> None:
    results = Release(date=told_on, form="8-K", accession="1", about="results", period_end=date(2025, 12, 27))
    expected = next_report(4, confirmed=False)
    said = [
        Contribution("edgar", Kind.FILING, EarningsData(next_report=expected, releases=(results,))),
        Contribution("llm", Kind.MODEL, EarningsData(next_report=next_report(1, confirmed=True))),
    ]
    assert merge_earnings(said).next_report == expected


def estimated(eps: str | None, estimate: str) -> Report:
    told = Estimate(eps_diluted=Decimal(estimate), provenance=said_by(Kind.MODEL))
    earned = None if eps is None else Decimal(eps)
    return report(Kind.MODEL, date(2025, 9, 30), 101, eps_diluted=earned, estimate=told)


def merged_estimate(filed: str | None, told: Report) -> Estimate | None:
    earned = None if filed is None else Decimal(filed)
    said = [
        Contribution("llm", Kind.MODEL, EarningsData(reports=(told,))),
        Contribution(
            "edgar",
            Kind.FILING,
            EarningsData(reports=(report(Kind.FILING, date(2025, 9, 27), 100, eps_diluted=earned),)),
        ),
    ]
    (merged,) = merge_earnings(said).reports
    assert merged.revenue == 100
    return merged.estimate


def test_it_tells_by_how_much_an_estimate_was_exceeded() -> None:
    estimate = merged_estimate("1.85", estimated("1.85", "1.77"))
    assert estimate is not None
    assert (estimate.eps_diluted, estimate.surprise) == (Decimal("1.77"), Decimal("0.0452"))
    loss = merged_estimate("-0.98", estimated("-0.98", "-0.80"))
    assert loss is not None
    assert loss.surprise == Decimal("-0.225")


def test_no_surprise_is_reckoned_from_an_estimate_of_next_to_nothing() -> None:
    for estimate in ("1E-30", "0.004"):
        told = merged_estimate("0.20", estimated("0.20", estimate))
        assert told is not None
        assert told.surprise is None


def test_it_compares_no_adjusted_estimate_with_reported_earnings() -> None:
    """2.71 was reported, 3.80 is without what the company leaves out: the estimate is of the latter."""
    for filed, told in (
        ("2.71", estimated("3.80", "3.68")),
        (None, estimated("3.80", "3.68")),
        ("1.85", estimated(None, "1.77")),
    ):
        estimate = merged_estimate(filed, told)
        assert estimate is not None
        assert estimate.surprise is None


def test_it_makes_nothing_of_nothing() -> None:
    assert merge_earnings([]) == EarningsData()
    assert merge_fundamentals([]) == FundamentalsData()
