"""What documents look like at a terminal of 80 columns. A record that has no view of its own is shown as JSON."""

from __future__ import annotations

import datetime as dt
import json
from functools import singledispatch
from typing import TYPE_CHECKING

from rich.text import Text

from scheduler_service.cli.figures import UNKNOWN, amount, growth, percent, sparkline
from scheduler_service.cli.terminal import line, print_json, safe, table
from scheduler_service.models import Record
from scheduler_service.parsers.checking import shares
from scheduler_service.parsers.earnings import EarningsData
from scheduler_service.parsers.fundamental_analysis import FundamentalsData
from scheduler_service.parsers.news import NewsData
from scheduler_service.parsers.quotes import QuotesData

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from scheduler_service.models import Check
    from scheduler_service.parsers.earnings import Report
    from scheduler_service.parsers.fundamental_analysis import Metric
    from scheduler_service.parsers.news import NewsItem

STORIES_SHOWN = 8
QUARTERS_SHOWN = 8
YEARS_SHOWN = 4
RELEASES_SHOWN = 3
TEXT_OF_AN_ANNOUNCEMENT = "EX-99"
SAME_TIME_OF_YEAR = dt.timedelta(days=15)
_YEAR = dt.timedelta(days=365)


@singledispatch
def print_data(data: Record | bytes, *, whole: bool) -> None:
    """Prints a document's data; all of it where ``whole``."""
    del whole
    print_json(data.model_dump(mode="json") if isinstance(data, Record) else json.loads(data))


@print_data.register
def _(data: NewsData, *, whole: bool) -> None:
    shown = data.items if whole else data.items[:STORIES_SHOWN]
    table("", ["when (UTC)", "publisher", "story"], [_story(item) for item in shown], long=("publisher", "story"))
    if len(shown) < len(data.items):
        line(f"{len(data.items) - len(shown)} older ones: name the domain to see them all")


def _story(item: NewsItem) -> tuple[object, ...]:
    when = item.published_at[:16].replace("T", " ") if item.published_at else UNKNOWN
    return when, item.publisher, Text.assemble(safe(item.title), "\n", safe(item.url, style="dim"))


@print_data.register
def _(data: EarningsData, *, whole: bool) -> None:
    for kind, title, most in (("quarter", "Quarters", QUARTERS_SHOWN), ("year", "Years", YEARS_SHOWN)):
        reports = [report for report in data.reports if report.kind == kind]
        if reports:
            _print_reports(f"{title}, {reports[0].currency}", reports, len(reports) if whole else most)
    if any(report.derived for report in data.reports):
        line("* derived: not reported alone, the difference of two reported figures")
    if unfiled := sorted({report.provenance.source for report in data.reports if report.provenance.accession is None}):
        line(f"† not from a filing: stated by {', '.join(unfiled)}, unverified")
    if (latest := next((report for report in data.reports if report.estimate is not None), None)) is not None:
        line(_beside_the_estimate(latest))
    if data.next_report is not None:
        sure = "confirmed" if data.next_report.confirmed else "expected"
        line(f"Next report: {data.next_report.date} ({data.next_report.time}, {sure})")
    _print_checks(data.checks)
    announced = [release for release in data.releases if release.about != "other"]
    for release in announced[: None if whole else RELEASES_SHOWN]:
        line(f"Results announced {release.date}, {release.form}: {release.url or release.accession}")
        for exhibit in release.exhibits or ():
            if exhibit.type.startswith(TEXT_OF_AN_ANNOUNCEMENT):
                line(f"  {exhibit.type}: {exhibit.url}")


def _print_reports(title: str, reports: Sequence[Report], most: int) -> None:
    shown = reports[:most]
    alike = [report for report in reversed(shown) if report.currency == reports[0].currency]
    revenues = [report.revenue for report in alike if report.revenue is not None]
    table(
        f"{title}   revenue {sparkline(revenues)}" if len(revenues) > 1 else title,
        ["period", "to", "revenue", "growth", "net income", "EPS", "filed"],
        [
            (
                _period(report),
                report.period_end,
                _money(report, report.revenue, reports[0].currency),
                percent(year_on_year(report, reports), signed=True),
                _money(report, report.net_income, reports[0].currency),
                UNKNOWN if report.eps_diluted is None else f"{report.eps_diluted:,.2f}",
                report.filed,
            )
            for report in shown
        ],
        numbers=("revenue", "growth", "net income", "EPS"),
    )


def _beside_the_estimate(report: Report) -> str:
    """``FY2025-Q4: EPS 1.85, expected 1.76 by perplexity: +5.1 %``."""
    assert report.estimate is not None
    eps = UNKNOWN if report.eps_diluted is None else f"{report.eps_diluted:,.2f}"
    said = f"expected {report.estimate.eps_diluted:,.2f} by {report.estimate.provenance.source}, unverified"
    surprise = report.estimate.surprise
    beside = "" if surprise is None else f": {percent(surprise, signed=True)}"
    return f"{report.fiscal_label or report.period_end}: EPS {eps}, {said}{beside}"


def _period(report: Report) -> str:
    marks = ("*" if report.derived else "") + ("†" if report.provenance.accession is None else "")
    return (report.fiscal_label or UNKNOWN) + marks


def _money(report: Report, value: Decimal | None, usual: str) -> str:
    """With its currency where that is not the one in the title."""
    return amount(value) if value is None or report.currency == usual else f"{amount(value)} {report.currency}"


def year_on_year(report: Report, reports: Sequence[Report]) -> Decimal | None:
    """By which fraction the revenue grew since the same period of the year before."""
    wanted = report.period_end - _YEAR
    alike = (r for r in reports if r.currency == report.currency)
    before = next((r for r in alike if abs(r.period_end - wanted) <= SAME_TIME_OF_YEAR), None)
    return None if before is None else growth(report.revenue, before.revenue)


@print_data.register
def _(data: FundamentalsData, *, whole: bool) -> None:
    del whole
    table(
        "",
        ["metric", "value", "as of", "check"],
        [
            (name.replace("_", " "), metric_value(metric), metric.as_of, metric.check)
            for name, metric in data.metrics.items()
        ],
        numbers=("value",),
    )
    _print_checks(data.checks)
    if data.analysis is not None:
        line(f"Analysis by {data.analysis.provenance.source}, {data.analysis.provenance.fetched_at[:10]}, unverified:")
        line(data.analysis.text)
        for source in data.analysis.sources:
            line(f"  {source}")


@print_data.register
def _(data: QuotesData, *, whole: bool) -> None:
    del whole
    said = f"{data.price:,f} {data.currency or ''}".rstrip()
    if data.change is not None and data.change_percent is not None:
        said += f", {data.change:+,f} ({data.change_percent:+.2f} %) from {data.previous_close:,f}"
    line(f"{said}, as of {data.as_of}, by {data.provenance.source}")


def _print_checks(checks: Sequence[Check]) -> None:
    """How far the models can be trusted, and where they say something else than the filings."""
    for source, counts in sorted(shares(checks).items()):
        told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("verified", "conflicting", "unverified"))
        line(f"Figures stated by {source}, beside the filings: {told}")
    wrong = [check for check in checks if check.verdict == "conflicting"]
    if wrong:
        table(
            "Conflicting: the filing's value is kept",
            ["figure", "to", "stated", "filed", "difference"],
            [
                (
                    c.figure.replace("_", " "),
                    c.period_end,
                    _value(c, c.stated),
                    _value(c, c.filed),
                    _value(c, c.difference),
                )
                for c in wrong
            ],
            numbers=("stated", "filed", "difference"),
        )


def _value(check: Check, value: Decimal | None) -> str:
    return percent(value) if check.unit == "ratio" else amount(value)


def metric_value(metric: Metric) -> str:
    """``24.3 %``, ``6.08 USD/share``, ``391.04 B USD``."""
    if metric.value is None:
        return UNKNOWN
    return percent(metric.value) if metric.unit == "ratio" else f"{amount(metric.value)} {metric.unit}"
