"""How contributions to earnings and fundamentals become one."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import permutations
from typing import Any

from scheduler_service.models import Contribution, Kind, Provenance
from scheduler_service.parsers.earnings import EarningsData, NextReport, Release, Report, merge_earnings
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


def test_it_makes_nothing_of_nothing() -> None:
    assert merge_earnings([]) == EarningsData()
    assert merge_fundamentals([]) == FundamentalsData()
