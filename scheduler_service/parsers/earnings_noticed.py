"""What is worth telling of a company's earnings, and when they are worth another look: a date, a surprise. Pure."""

from __future__ import annotations

from datetime import time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from scheduler_service.clock import to_iso_seconds, utc_day
from scheduler_service.models import FollowUp, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from scheduler_service.clock import Instant
    from scheduler_service.parsers.earnings import EarningsData, NextReport, Report

DATE_FOUND: Final = "earnings.date_found"
DATE_GONE: Final = "earnings.date_gone"
SURPRISE: Final = "earnings.surprise"
RELEASE_DUE: Final = "earnings.release_due"
REPORT_DUE: Final = "earnings.report_due"
GREAT_SURPRISE = Decimal("0.05")
"""A share of the estimate."""
NEWS_FOR = timedelta(days=45)
"""A report that was filed longer ago surprises nobody."""
_PARTS_OF_DAY = {"bmo": "before the market opens", "amc": "after the market closes", "unknown": "at an unknown hour"}
_FIRST_LOOKS = {"bmo": (time(9), time(13)), "amc": (time(17), time(20)), "unknown": (time(9), time(17, 30))}
"""A release comes about an hour before the open, or within an hour of the close."""
_FILED_BY = time(9)
"""Of the next day: the report itself often follows the release within hours."""


def earnings_notices(
    symbol: str, before: EarningsData | None, after: EarningsData, now: Instant, since: Instant | None
) -> list[Notice]:
    """A date of the next report that is new, has moved or is gone, and great surprises that were not known: none of
    what a source tells of the past at its first look (``since`` is None).
    """
    told = [*_date_found(symbol, before, after, now)]
    if before is not None and since is not None:
        told += _surprises(symbol, before, after, now)
    return told


def report_follow_ups(known: EarningsData, at: Callable[[date, time], Instant]) -> list[FollowUp]:
    """Two looks for the release on the day, and one on the next for the report; also after a release that has come, for
    with it the next date moves on, and though the report is known here: others may have to look for it yet. ``at``
    tells a local time of the stock's exchange.
    """
    told = next((release for release in known.releases if release.about == "results"), None)
    awaited = []
    if told is not None:
        awaited = [FollowUp("report-of-release", REPORT_DUE, at(told.date + timedelta(days=1), _FILED_BY))]
    due = known.next_report
    if due is None:
        return awaited
    first, second = _FIRST_LOOKS[due.time]
    return [
        *awaited,
        FollowUp("release", RELEASE_DUE, at(due.date, first)),
        FollowUp("release-again", RELEASE_DUE, at(due.date, second)),
        FollowUp("report", REPORT_DUE, at(due.date + timedelta(days=1), _FILED_BY)),
    ]


def _date_found(symbol: str, before: EarningsData | None, after: EarningsData, now: Instant) -> Iterator[Notice]:
    former, due = _to_come(before, now), _to_come(after, now)
    if due is None:
        if former is not None:
            said = f"{symbol} is no longer said to report on {former.date.isoformat()}"
            key = f"{DATE_GONE}:{symbol}:{former.date.isoformat()}@{to_iso_seconds(now)}"
            yield Notice(key, DATE_GONE, said, {"before": former.model_dump(mode="json")}, symbol)
        return
    if former is not None and _when(former) == _when(due):
        return
    confirmed = "confirmed" if due.confirmed else "estimated"
    said = f"{symbol} reports on {due.date.isoformat()} {_PARTS_OF_DAY[due.time]} ({confirmed}, {due.source})"
    moved = "" if former is None else f"; it was {former.date.isoformat()}"
    facts = {
        "next_report": due.model_dump(mode="json"),
        "before": former and former.model_dump(mode="json"),
        "last_releases": [told.model_dump(mode="json") for told in after.releases if told.about == "results"][:4],
    }
    key = f"{DATE_FOUND}:{symbol}:{due.date.isoformat()}:{due.time}:{confirmed}@{to_iso_seconds(now)}"
    yield Notice(key, DATE_FOUND, said + moved, facts, symbol)


def _to_come(known: EarningsData | None, now: Instant) -> NextReport | None:
    due = None if known is None else known.next_report
    return due if due is not None and due.date >= utc_day(now) else None


def _when(report: NextReport) -> tuple[date, str, bool]:
    return report.date, report.time, report.confirmed


def _surprises(symbol: str, before: EarningsData, after: EarningsData, now: Instant) -> Iterator[Notice]:
    known = {_key(symbol, report) for report in before.reports if _is_great(report)}
    for report in after.reports:
        key, surprise = _key(symbol, report), _surprise(report)
        if key in known or utc_day(now) - report.filed > NEWS_FOR:
            continue
        if surprise is not None and report.estimate is not None and _is_great(report):
            beat = "beat" if surprise > 0 else "missed"
            said = (
                f"{symbol} {beat} the estimate for the {report.kind} to {report.period_end.isoformat()} by "
                f"{abs(surprise):.1%}: earnings per share {report.eps_diluted} {report.currency}, expected "
                f"{report.estimate.eps_diluted}"
            )
            yield Notice(key, SURPRISE, said, {"report": report.model_dump(mode="json")}, symbol, is_alert=True)


def _surprise(report: Report) -> Decimal | None:
    return None if report.estimate is None else report.estimate.surprise


def _is_great(report: Report) -> bool:
    surprise = _surprise(report)
    return surprise is not None and abs(surprise) >= GREAT_SURPRISE


def _key(symbol: str, report: Report) -> str:
    return f"{SURPRISE}:{symbol}:{report.kind}:{report.period_end.isoformat()}"
