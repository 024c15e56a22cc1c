"""Earnings at a terminal."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from scheduler_service.cli.beside_filings import in_short, print_checks
from scheduler_service.cli.figures import UNKNOWN, amount, growth, percent, sparkline
from scheduler_service.cli.terminal import line, table
from scheduler_service.parsers.earnings import EarningsData

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from scheduler_service.parsers.earnings import NextReport, Report

RECORD: Final = EarningsData
PLACE: Final = 2
QUARTERS_SHOWN = 8
YEARS_SHOWN = 4
RELEASES_SHOWN = 3
TEXT_OF_AN_ANNOUNCEMENT = "EX-99"
SAME_TIME_OF_YEAR = dt.timedelta(days=15)
_YEAR = dt.timedelta(days=365)
_PARTS_OF_DAY = {"bmo": "before the open", "amc": "after the close", "unknown": "hour not known"}


def detail(data: EarningsData, *, whole: bool) -> None:
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
        line(_next(data.next_report))
    print_checks(data.checks)
    announced = [release for release in data.releases if release.about != "other"]
    for release in announced[: None if whole else RELEASES_SHOWN]:
        line(f"Results announced {release.date}, {release.form}: {release.url or release.accession}")
        for exhibit in release.exhibits or ():
            if exhibit.type.startswith(TEXT_OF_AN_ANNOUNCEMENT):
                line(f"  {exhibit.type}: {exhibit.url}")


def _print_reports(title: str, reports: Sequence[Report], most: int) -> None:
    shown = reports[:most]
    alike = [report for report in reversed(shown) if report.currency == reports[0].currency]
    revenues = [report.revenue for report in alike]
    table(
        f"{title}   revenue {sparkline(revenues)}" if any(revenues[:-1]) else title,
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
    before = _year_before(report, reports)
    return None if before is None else growth(report.revenue, before.revenue)


def _year_before(report: Report, reports: Sequence[Report]) -> Report | None:
    wanted = report.period_end - _YEAR
    alike = (r for r in reports if r.currency == report.currency and r.kind == report.kind)
    return next((r for r in alike if abs(r.period_end - wanted) <= SAME_TIME_OF_YEAR), None)


def brief(data: EarningsData) -> Iterator[str]:
    reports = _newest_kind(data.reports)
    if reports:
        yield from _latest(reports)
        yield from _trend(reports)
    if (told := next((report for report in reports if report.estimate is not None), None)) is not None:
        yield _beside_the_estimate(told)
    if data.next_report is not None:
        yield _next(data.next_report)
    yield from in_short(data.checks)


def _newest_kind(reports: Sequence[Report]) -> list[Report]:
    """The quarters, or the years where the newest of them is newer: some companies move abroad, and tell no more."""
    kinds = ([report for report in reports if report.kind == kind] for kind in ("quarter", "year"))
    return max(kinds, key=lambda alike: alike[0].period_end if alike else dt.date.min)


def _latest(reports: Sequence[Report]) -> Iterator[str]:
    report, before = reports[0], _year_before(reports[0], reports)
    origin = "filed" if report.provenance.accession else f"stated by {report.provenance.source}, unverified,"
    head = f"Results of {_period(report)} to {report.period_end}, {origin} {report.filed}, {report.currency}"
    yield f"{head:<61}  the year before"
    for name, of in (("revenue", "revenue"), ("net income", "net_income"), ("EPS, diluted", "eps_diluted")):
        now: Decimal | None = getattr(report, of)
        then: Decimal | None = getattr(before, of, None)
        yield f"  {name:<20}{amount(now):>20}{percent(growth(now, then), signed=True):>15}{amount(then):>20}"


def _trend(reports: Sequence[Report]) -> Iterator[str]:
    shown = [r for r in reversed(reports[:QUARTERS_SHOWN]) if r.currency == reports[0].currency]
    lines = {
        "revenue": [r.revenue for r in shown],
        "net income": [r.net_income for r in shown],
        "EPS": [r.eps_diluted for r in shown],
    }
    told = "   ".join(
        f"{name} {sparkline(values)}" for name, values in lines.items() if len(values) - values.count(None) > 1
    )
    if told:
        yield f"  last {len(shown)}: {told}"


def _next(expected: NextReport) -> str:
    """``Next report: 2027-01-28 (after the close, expected by edgar)``."""
    sure = "confirmed" if expected.confirmed else "expected"
    return f"Next report: {expected.date} ({_PARTS_OF_DAY[expected.time]}, {sure} by {expected.source})"
