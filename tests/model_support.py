"""Answers of a model with figures, as they would be asked for, and what is true of them. All of it is synthetic: no
recorded answer is structured. The figures are those of a company's filings, so that they are true together.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from scheduler_service.calls import Answer
from scheduler_service.clock import from_iso
from scheduler_service.models import Contribution, Kind, Provenance
from scheduler_service.parsers import stated_earnings, stated_fundamentals
from scheduler_service.parsers.earnings import EarningsData, Report
from scheduler_service.parsers.fundamental_analysis import FundamentalsData, Metric
from scheduler_service.parsers.stock_names import Stock
from scheduler_service.processors.earnings_processor import EarningsProcessor
from scheduler_service.processors.fundamental_analyzer import FundamentalAnalyzer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STOCK = Stock("AAPL", "Apple Inc.")
NOW = from_iso("2026-02-10T12:00:00Z")
ACCESSION = "0000320193-25-000079"
PAGES = [
    {"id": n, "title": "Apple", "url": f"https://news.example/{n}", "snippet": "...", "date": "2026-01-30"}
    for n in (1, 2)
]
Period = tuple[str, str]
FIGURES = ("revenue", "net_income", "eps_diluted", "eps_estimate")
PERIODS: dict[Period, tuple[str, str, int, int, float, float | None]] = {
    ("quarter", "2025-03-29"): ("2024-12-29", "2025-05-01", 95_359_000_000, 24_780_000_000, 1.65, 1.62),
    ("quarter", "2025-06-28"): ("2025-03-30", "2025-07-31", 94_036_000_000, 23_434_000_000, 1.57, 1.43),
    ("quarter", "2025-09-27"): ("2025-06-29", "2025-10-30", 102_466_000_000, 27_466_000_000, 1.85, 1.76),
    ("quarter", "2025-12-27"): ("2025-09-28", "2026-01-29", 143_756_000_000, 42_097_000_000, 2.84, 2.67),
    ("year", "2025-09-27"): ("2024-09-29", "2025-10-30", 416_161_000_000, 112_010_000_000, 7.46, None),
}
"""First day, day of announcement, and the figures."""
METRICS: dict[str, tuple[float, str]] = {
    "revenue_ttm": (435_617_000_000, "USD"),
    "net_income_ttm": (117_777_000_000, "USD"),
    "eps_diluted_ttm": (7.91, "USD/share"),
    "gross_margin": (0.473, "ratio"),
    "operating_margin": (0.324, "ratio"),
    "net_margin": (0.2704, "ratio"),
    "total_debt": (90_509_000_000, "USD"),
    "cash": (45_317_000_000, "USD"),
    "equity": (88_190_000_000, "USD"),
    "debt_to_equity": (1.026, "ratio"),
    "roe": (1.335, "ratio"),
    "free_cash_flow_ttm": (123_324_000_000, "USD"),
    "shares_diluted": (14_810_000_000, "shares"),
}
AS_OF = "2025-12-27"


def row(period: Period) -> dict[str, Any]:
    kind, end = period
    start, told, *figures = PERIODS[period]
    days = {"kind": kind, "period_start": start, "period_end": end, "reported_on": told, "currency": "USD"}
    return days | dict(zip(FIGURES, figures, strict=True)) | {"source": 1}


def rows() -> list[dict[str, Any]]:
    return [row(period) for period in PERIODS]


def earnings(reports: object, **changes: Any) -> dict[str, Any]:
    return {
        "ticker": "AAPL",
        "company": "Apple Inc.",
        "reports": reports,
        "next_report_date": "2026-04-30",
        "next_report_time": "amc",
        "next_report_confirmed": False,
        "next_report_source": 2,
    } | changes


def metric(name: str) -> dict[str, Any]:
    value, unit = METRICS[name]
    return {"name": name, "value": value, "unit": unit, "as_of": AS_OF, "source": 1}


def metrics() -> list[dict[str, Any]]:
    return [metric(name) for name in METRICS]


def fundamentals(stated: object, **changes: Any) -> dict[str, Any]:
    analysis = {"analysis": "Apple earns a lot.[1]", "analysis_sources": [1, 2]}
    return {"ticker": "AAPL", "company": "Apple Inc.", "metrics": stated} | analysis | changes


def body(said: object) -> bytes:
    """An answer of the Agent API; ``said`` as the model's text, JSON unless it is a text already."""
    text = said if isinstance(said, str) else json.dumps(said)
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    output = [{"type": "search_results", "queries": ["q"], "results": PAGES}, message]
    return json.dumps({"status": "completed", "model": "perplexity/sonar", "output": output}).encode()


def read_earnings(answer: bytes, stock: Stock = STOCK) -> EarningsData:
    """What the answer states."""
    stated = stated_earnings.read_stated_earnings(answer, stock)
    made = Answer(stated, "7", "https://api.example/v1/agent", NOW, sandbox=False, asked=True)
    return stated_earnings.earnings_from_stated(made, "perplexity", stock)


def read_fundamentals(answer: bytes, stock: Stock = STOCK) -> FundamentalsData:
    """What the answer states."""
    stated = stated_fundamentals.read_stated_fundamentals(answer, stock)
    made = Answer(stated, "7", "https://api.example/v1/agent", NOW, sandbox=False, asked=True)
    return stated_fundamentals.fundamentals_from_stated(made, "perplexity", stock)


def earnings_document(answer: bytes, *filed: Contribution[EarningsData]) -> EarningsData:
    """The document's data where this answer, and those filings, are all there is."""
    stated = Contribution("perplexity", Kind.MODEL, read_earnings(answer))
    return EarningsProcessor({}, []).merge([stated, *filed])


def fundamentals_document(answer: bytes, *filed: Contribution[FundamentalsData]) -> FundamentalsData:
    """The same of fundamentals."""
    stated = Contribution("perplexity", Kind.MODEL, read_fundamentals(answer))
    return FundamentalAnalyzer({}, []).merge([stated, *filed])


def wrong_reports(reports: Iterable[Report]) -> Iterator[str]:
    """What is not true of periods, by the table alone."""
    for report in reports:
        period = next(
            (
                one
                for one in PERIODS
                if one[0] == report.kind and abs(dt.date.fromisoformat(one[1]) - report.period_end).days <= 16
            ),
            None,
        )
        if period is None:
            yield f"no {report.kind} ended on {report.period_end}"
            continue
        start, told, *figures = PERIODS[period]
        if report.currency != "USD":
            yield f"{period} is in {report.currency}"
        if abs(dt.date.fromisoformat(start) - report.period_start).days > 16:
            yield f"{period} begins on {report.period_start}"
        if report.filed.isoformat() not in (told, PAGES[0]["date"]):
            yield f"{period} was told on {report.filed}"
        estimate = None if report.estimate is None else report.estimate.eps_diluted
        said = (report.revenue, report.net_income, report.eps_diluted, estimate)
        for name, value, true in zip(FIGURES, said, figures, strict=True):
            if value is not None and (true is None or value != Decimal(str(true))):
                yield f"{name} of {period} is {value}, not {true}"


def wrong_metrics(said: Mapping[str, Metric]) -> Iterator[str]:
    """What is not true of metrics, by the table alone."""
    for name, one in said.items():
        value, unit = METRICS[name]
        if one.value is not None and (one.value != Decimal(str(value)) or one.unit != unit):
            yield f"{name} is {one.value} {one.unit}, not {value} {unit}"
        if one.value is not None and abs(dt.date.fromisoformat(AS_OF) - one.as_of).days > 16:
            yield f"{name} is of {one.as_of}"


def filing() -> Provenance:
    return Provenance(
        source="edgar", accession=ACCESSION, fetched_at="2026-02-01T00:00:00Z", call_id="1", kind=Kind.FILING
    )


def filed_reports(*periods: Period) -> Contribution[EarningsData]:
    """Those periods as filings have them."""
    reports = []
    for period in periods:
        start, told, *figures = PERIODS[period]
        revenue, net_income, eps = (Decimal(str(figure)) for figure in figures[:3])
        reports.append(
            Report(
                period_end=dt.date.fromisoformat(period[1]),
                period_start=dt.date.fromisoformat(start),
                kind="year" if period[0] == "year" else "quarter",
                revenue=revenue,
                net_income=net_income,
                eps_diluted=eps,
                currency="USD",
                filed=dt.date.fromisoformat(told),
                accession=ACCESSION,
                provenance=filing(),
            )
        )
    return Contribution("edgar", Kind.FILING, EarningsData(reports=tuple(reports)))


def filed_metrics(*names: str) -> Contribution[FundamentalsData]:
    """Those metrics as they follow from filings, the others unknown."""
    found = {
        name: Metric(
            value=Decimal(str(value)) if name in names else None,
            unit=unit,
            as_of=dt.date.fromisoformat(AS_OF),
            provenance=filing(),
            check="filing",
        )
        for name, (value, unit) in METRICS.items()
    }
    return Contribution("edgar", Kind.FILING, FundamentalsData(metrics=found))
