"""Earnings as a language model states them: what it is asked, and which of its rows can be believed."""

from __future__ import annotations

import calendar
import datetime as dt
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from scheduler_service.clock import utc_day
from scheduler_service.errors import ParseError
from scheduler_service.models import Kind, Reason
from scheduler_service.parsers.coherent_earnings import united
from scheduler_service.parsers.earnings import EarningsData, Estimate, NextReport, PeriodKind, Report
from scheduler_service.parsers.json_values import as_date, as_list, as_object, as_text
from scheduler_service.parsers.model_prose import as_money, as_per_share
from scheduler_service.parsers.stated import (
    COMPANY,
    FLAG_OR_NULL,
    INTEGER_OR_NULL,
    LARGEST_AMOUNT,
    LARGEST_PER_SHARE,
    LEAST_AMOUNT,
    MOST_ROWS,
    NUMBER_OR_NULL,
    RULES_FOR_FIGURES,
    TEXT,
    TEXT_OR_NULL,
    as_currency,
    canonical,
    fields,
    list_of,
    one_of,
    read_stated,
    source_of,
    strict_object,
    within,
)

if TYPE_CHECKING:
    from scheduler_service.calls import Answer
    from scheduler_service.parsers.model_answer import SearchResult
    from scheduler_service.parsers.stock_names import Stock

Hour = Literal["bmo", "amc", "unknown"]

HISTORY = dt.timedelta(days=2 * 366)
"""Ends of periods further back than this were not asked for."""
AHEAD = dt.timedelta(days=366)
DAYS: dict[PeriodKind, tuple[int, int]] = {"quarter": (80, 100), "year": (350, 380)}
"""How long periods are, first to last: companies close on weekdays, not on dates."""
MONTHS: dict[PeriodKind, int] = {"quarter": 3, "year": 12}
FEWEST_SHARES, MOST_SHARES = Decimal(10) ** 5, Decimal(10) ** 12
"""What net income by earnings per share may come to; outside it one of them was stated in thousands or millions."""

INSTRUCTIONS = RULES_FOR_FIGURES
SCHEMA = canonical(
    strict_object(
        {
            **COMPANY,
            "reports": list_of(
                strict_object(
                    {
                        "kind": one_of(*get_args(PeriodKind)),
                        "period_start": TEXT_OR_NULL,
                        "period_end": TEXT,
                        "reported_on": TEXT_OR_NULL,
                        "currency": TEXT_OR_NULL,
                        "revenue": NUMBER_OR_NULL,
                        "net_income": NUMBER_OR_NULL,
                        "eps_diluted": NUMBER_OR_NULL,
                        "eps_estimate": NUMBER_OR_NULL,
                        "source": INTEGER_OR_NULL,
                    }
                )
            ),
            "next_report_date": TEXT_OR_NULL,
            "next_report_time": one_of(*get_args(Hour)),
            "next_report_confirmed": FLAG_OR_NULL,
            "next_report_source": INTEGER_OR_NULL,
        }
    )
)
ASKED = fields(SCHEMA)


@dataclass(frozen=True, slots=True)
class StatedReport:
    """One row as it was stated: None is what could not be read. ``source`` is the search result it cites."""

    kind: PeriodKind | None
    start: dt.date | None
    end: dt.date | None
    reported_on: dt.date | None
    currency: str | None
    revenue: Decimal | None
    net_income: Decimal | None
    eps_diluted: Decimal | None
    source: SearchResult | None
    eps_estimate: Decimal | None = None


@dataclass(frozen=True, slots=True)
class StatedEarnings:
    """A model's answer about the company asked for, read but not yet judged."""

    reports: tuple[StatedReport, ...]
    next_date: dt.date | None
    next_time: Hour
    next_confirmed: bool
    next_source: SearchResult | None


def question(stock: Stock) -> str:
    return (
        f"Which results did {stock} report for its four most recent fiscal quarters and its most recent fiscal year? "
        "One row of `reports` for each period: first and last day of the period, the day the results were announced "
        "(`reported_on`), the currency (ISO 4217), revenue, net income and diluted earnings per share as reported "
        "under the company's accounting standards (GAAP or IFRS, not adjusted), and the earnings per share analysts "
        "expected on average (`eps_estimate`). When will it report next: the date, "
        "before the market opens (bmo), after it closes (amc) or unknown, and whether the company itself confirmed "
        "the date?"
    )


def read_stated_earnings(body: bytes, stock: Stock) -> StatedEarnings:
    """Raises ``ParseError`` for what is no such answer, or one about another company."""
    stated, results = read_stated(body, stock, ASKED)
    rows = map(as_object, within(MOST_ROWS, as_list(stated.get("reports")), stock))
    return StatedEarnings(
        reports=tuple(_row(row, results) for row in rows),
        next_date=as_date(stated.get("next_report_date")),
        next_time=_hour(stated.get("next_report_time")),
        next_confirmed=stated.get("next_report_confirmed") is True,
        next_source=source_of(stated, results, "next_report_source"),
    )


def earnings_from_stated(answer: Answer[StatedEarnings], source: str, stock: Stock) -> EarningsData:
    """The rows that make sense on the day of the answer, newest first, in whatever order they came; two of one period
    are one where they agree, and what they contradict each other in is null.

    A period whose first day is not stated begins, by the calendar, three months or a year before the day after its
    last. Results whose day of announcement is not stated count as ``filed`` on the day of the page that tells them.
    The next report needs a source too. ``ParseError(NO_DATA)`` where no row is left: its text counts what was wrong.
    """
    today = utc_day(answer.fetched_at)
    read = [_report(row, today, answer, source) for row in answer.value.reports]
    reports = united(report for report in read if not isinstance(report, str))
    if not reports:
        wrong = Counter(report for report in read if isinstance(report, str))
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(wrong.items())) or "none are stated"
        raise ParseError(f"no reports of {stock} can be used: {reasons}", Reason.NO_DATA)
    return EarningsData(reports=reports, next_report=_next(answer.value, today))


def _row(row: dict[str, Any], results: tuple[SearchResult, ...]) -> StatedReport:
    kind, currency = as_text(row.get("kind")).lower(), as_currency(row.get("currency"))
    return StatedReport(
        kind=cast("PeriodKind", kind) if kind in get_args(PeriodKind) else None,
        start=as_date(row.get("period_start")),
        end=as_date(row.get("period_end")),
        reported_on=as_date(row.get("reported_on")),
        currency=currency,
        revenue=as_money(row.get("revenue"), currency),
        net_income=as_money(row.get("net_income"), currency),
        eps_diluted=as_per_share(row.get("eps_diluted"), currency),
        source=source_of(row, results),
        eps_estimate=as_per_share(row.get("eps_estimate"), currency),
    )


def _hour(value: object) -> Hour:
    text = as_text(value).lower()
    return cast("Hour", text) if text in get_args(Hour) else "unknown"


def _report(row: StatedReport, today: dt.date, answer: Answer[StatedEarnings], source: str) -> Report | str:
    """The report, or what is wrong with the row."""
    if row.source is None:
        return "without a source"
    if row.kind is None or row.end is None or row.currency is None:
        return "without a period or a currency"
    start, filed = row.start or _first_day(row.kind, row.end), row.reported_on or row.source.published
    if filed is None or not row.end < filed <= today:
        return "announced on no day, before its period ended or in the future"
    shortest, longest = DAYS[row.kind]
    flaws = {
        "without revenue and net income": row.revenue is None and row.net_income is None,
        "too old": row.end < today - HISTORY,
        f"not as long as a {row.kind}": not shortest <= (row.end - start).days + 1 <= longest,
        "with absurd figures": not _plausible(row),
    }
    flaw = next((name for name, found in flaws.items() if found), None)
    origin = answer.provenance(source, Kind.MODEL, url=row.source.url)
    expected = row.eps_estimate
    return flaw or Report(
        period_end=row.end,
        period_start=start,
        kind=row.kind,
        revenue=row.revenue,
        net_income=row.net_income,
        eps_diluted=row.eps_diluted,
        currency=row.currency,
        filed=filed,
        estimate=Estimate(eps_diluted=expected, provenance=origin)
        if expected is not None and abs(expected) < LARGEST_PER_SHARE
        else None,
        provenance=origin,
    )


def _first_day(kind: PeriodKind, end: dt.date) -> dt.date:
    after = end + dt.timedelta(days=1)
    year, month = divmod(after.year * 12 + after.month - 1 - MONTHS[kind], 12)
    return dt.date(year, month + 1, min(after.day, calendar.monthrange(year, month + 1)[1]))


def _plausible(row: StatedReport) -> bool:
    amounts = [value for value in (row.revenue, row.net_income) if value is not None]
    if any(abs(value) >= LARGEST_AMOUNT for value in amounts):
        return False
    if row.eps_diluted is None:
        return not amounts or max(map(abs, amounts)) >= LEAST_AMOUNT
    if abs(row.eps_diluted) >= LARGEST_PER_SHARE:
        return False
    if not row.net_income or not row.eps_diluted:
        return not any(amounts) or max(map(abs, amounts)) >= LEAST_AMOUNT
    return FEWEST_SHARES <= abs(row.net_income / row.eps_diluted) <= MOST_SHARES


def _next(stated: StatedEarnings, today: dt.date) -> NextReport | None:
    day, source = stated.next_date, stated.next_source
    if day is None or source is None or not today <= day <= today + AHEAD:
        return None
    return NextReport(date=day, time=stated.next_time, confirmed=stated.next_confirmed, source=source.url)
