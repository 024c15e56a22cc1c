"""The periods of one answer beside each other, and beside the filings: what cannot be true together is unknown."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING

from scheduler_service.models import Kind
from scheduler_service.parsers.checking import SAME_END
from scheduler_service.parsers.coherence import (
    agreed,
    far_apart,
    in_words,
    is_told_of_two,
    keeps_too_much_or_little,
    of_different_shares,
)
from scheduler_service.parsers.earnings import newest_first, same_period

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scheduler_service.models import Contribution
    from scheduler_service.parsers.earnings import EarningsData, Report

NEAR = dt.timedelta(days=400)
"""Filed periods that end no further off tell what a stated one can be like."""
_QUARTERS = {"quarter": 1, "year": 4}
_DAYS = {"quarter": 365.25 / 4, "year": 365.25}
_WEEKS_OFF = 28
"""Some quarters have twelve weeks, so that three of them end three weeks early."""
_ROUNDED = Decimal("0.02")
"""Four quarters add up to their year, but for what rounding and corrections do."""
_CENTS_OF_A_YEAR = Decimal("0.06")
_MISSED_BY, _LEAST_MISSED = 5, Decimal("0.25")
AMOUNTS, PER_SHARE = ("revenue", "net_income"), "eps_diluted"


def united(stated: Iterable[Report]) -> tuple[Report, ...]:
    """The rows of one answer, in whatever order they come: one for each period, newest first. Of a figure that is
    stated twice the more precise, null where they contradict each other.
    """
    return tuple(sorted((_united(rows) for rows in _periods(stated)), key=newest_first))


def coherent(data: EarningsData) -> EarningsData:
    """What a model states, without figures that cannot be true together, and without periods of which neither revenue
    nor net income is left. Nothing is left of an answer in several currencies: one of them is wrong. What was filed
    stays as it is.
    """
    stated = [report for report in data.reports if report.accession is None]
    if not stated:
        return data
    one_currency = len({report.currency for report in stated}) == 1
    kept = filter(_says_something, _together([_alone(report) for report in stated])) if one_currency else ()
    filed = (report for report in data.reports if report.accession is not None)
    return data.model_copy(update={"reports": tuple(sorted((*filed, *kept), key=newest_first))})


def believed(contributions: Sequence[Contribution[EarningsData]]) -> list[Contribution[EarningsData]]:
    """What models state as far as it can be true together, and beside the filings: in their currency or not at all,
    without what the filed periods around make unbelievable.
    """
    filed = sorted(
        (report for said in contributions if said.kind is Kind.FILING for report in said.data.reports),
        key=newest_first,
    )
    return [_believed(said, filed) if said.kind is Kind.MODEL else said for said in contributions]


def doubted(data: EarningsData) -> str | None:
    """In words, how much of what a model states is not believed."""
    return in_words(_figures(data) - _figures(coherent(data)), _figures(data))


def _figures(data: EarningsData) -> int:
    return sum(getattr(report, name) is not None for report in data.reports for name in (*AMOUNTS, PER_SHARE))


def _believed(said: Contribution[EarningsData], filed: Sequence[Report]) -> Contribution[EarningsData]:
    kept = []
    for report in said.data.reports:
        known = next((one for one in filed if same_period(report, one)), None)
        if known is not None:
            # The filing's figures are the document's; only an estimate may come from here.
            kept.append(_with_fitting_estimate(report, known.eps_diluted))
    for report in coherent(said.data).reports:
        if any(same_period(report, one) for one in filed) or (filed and report.currency != filed[0].currency):
            continue
        around = [one for one in filed if abs(one.period_end - report.period_end) <= NEAR]
        beside, *_ = _together([report, *(one for one in around if one.currency == report.currency)])
        kept += [beside] if _says_something(beside) else []
    reports = tuple(sorted(kept, key=newest_first))
    return replace(said, data=said.data.model_copy(update={"reports": reports}))


def _says_something(report: Report) -> bool:
    return report.revenue is not None or report.net_income is not None


def _periods(stated: Iterable[Report]) -> Iterator[list[Report]]:
    """The rows of each period."""
    rows: list[Report] = []
    for report in sorted(stated, key=lambda one: (one.kind, one.period_end)):
        if rows and not same_period(rows[-1], report):
            yield rows
            rows = []
        rows.append(report)
    if rows:
        yield rows


def _united(rows: Sequence[Report]) -> Report:
    """One row of several, whichever comes first; its days are those of the fullest."""
    if len(rows) == 1:
        return rows[0]

    def fullest(report: Report) -> tuple[object, ...]:
        unknown = sum(getattr(report, name) is None for name in (*AMOUNTS, PER_SHARE, "estimate"))
        return unknown, report.period_end, report.period_start, report.filed, report.model_dump_json()

    estimates = sorted((r.estimate for r in rows if r.estimate is not None), key=lambda e: e.model_dump_json())
    units = dict.fromkeys(AMOUNTS, rows[0].currency) | {PER_SHARE: f"{rows[0].currency}/share"}
    found = {
        name: agreed((value for row in rows if (value := getattr(row, name)) is not None), unit)
        for name, unit in units.items()
    }
    expected = agreed((one.eps_diluted for one in estimates), units[PER_SHARE])
    estimate = next((one for one in estimates if one.eps_diluted == expected), None)
    return min(rows, key=fullest).model_copy(update={**found, "estimate": estimate})


def _alone(report: Report) -> Report:
    """A row by itself. Zero is what a model writes that knows nothing; revenue is never negative."""
    found = {name: getattr(report, name) or None for name in (*AMOUNTS, PER_SHARE)}
    if found["revenue"] is not None and found["revenue"] < 0:
        found["revenue"] = None
    row = report.model_copy(update=found)
    if row.revenue and row.net_income and keeps_too_much_or_little(row.revenue, row.net_income):
        row = _without(row, *AMOUNTS)
    if row.net_income and row.eps_diluted and (row.net_income < 0) is not (row.eps_diluted < 0):
        row = _without(row, "net_income", PER_SHARE)
    return _with_fitting_estimate(row, row.eps_diluted)


def _together(rows: Sequence[Report]) -> list[Report]:
    """Without the figures that contradict those of other periods. They are found first and taken out afterwards, so
    that the order is no matter.
    """
    doubted: dict[int, set[str]] = {n: set() for n in range(len(rows))}

    def doubt(places: Iterable[int], *names: str) -> None:
        for n in places:
            doubted[n].update(names)

    everywhere = range(len(rows))
    if far_apart(_a_quarter(row, "revenue") for row in rows):
        doubt(everywhere, *AMOUNTS)
    unanchored = [n for n, row in enumerate(rows) if row.revenue is None and row.eps_diluted is None]
    if unanchored and far_apart(_a_quarter(row, "net_income") for row in rows):
        doubt(unanchored, "net_income")
    if of_different_shares((r.net_income, r.eps_diluted) for r in rows if r.net_income and r.eps_diluted):
        doubt(everywhere, "net_income", PER_SHARE)
    for name in AMOUNTS:
        for n, m in combinations(everywhere, 2):
            one, other = getattr(rows[n], name), getattr(rows[m], name)
            if one and other and is_told_of_two(one, [other]):
                doubt((n, m), *AMOUNTS)
    for n, m in combinations(everywhere, 2):
        if rows[n].kind == rows[m].kind and not _of_one_calendar(rows[n], rows[m]):
            doubt((n, m), *AMOUNTS, PER_SHARE)
    for year in (n for n in everywhere if rows[n].kind == "year"):
        quarters = [n for n in everywhere if rows[n].kind == "quarter" and _lies_in(rows[n], rows[year])]
        for name in _not_of_this_year([rows[n] for n in quarters], rows[year]):
            doubt((year, *quarters), name)
    return [_without(row, *doubted[n]) for n, row in enumerate(rows)]


def _a_quarter(report: Report, name: str) -> Decimal:
    return Decimal(getattr(report, name) or 0) / _QUARTERS[report.kind]


def _of_one_calendar(one: Report, other: Report) -> bool:
    """Whether two periods of a kind end a whole number of them apart, as a company's do."""
    days = _DAYS[one.kind]
    over = abs((one.period_end - other.period_end).days) % days
    return min(over, days - over) <= _WEEKS_OFF


def _lies_in(quarter: Report, year: Report) -> bool:
    return year.period_start - SAME_END <= quarter.period_start and quarter.period_end <= year.period_end + SAME_END


def _not_of_this_year(quarters: Sequence[Report], year: Report) -> Iterator[str]:
    """The figures of which the quarters hold more than the year, or four of them less."""
    sales = [q.revenue for q in quarters if q.revenue is not None]
    if year.revenue is not None and any(
        too_much >= year.revenue for too_much in (max(sales, default=0), sum(sales) / (1 + _ROUNDED))
    ):
        yield from AMOUNTS
    if len(quarters) != _QUARTERS["year"]:
        return
    for name in (*AMOUNTS, PER_SHARE):
        parts, whole = [getattr(q, name) for q in quarters], getattr(year, name)
        if whole is None or None in parts:
            continue
        allowed: Decimal = _ROUNDED * sum(map(abs, parts))
        if abs(sum(parts) - whole) > (max(allowed, _CENTS_OF_A_YEAR) if name == PER_SHARE else allowed):
            yield name


def _without(report: Report, *names: str) -> Report:
    if PER_SHARE in names:
        names = (*names, "estimate")  # is of the same basis
    return report.model_copy(update=dict.fromkeys(names)) if names else report


def _with_fitting_estimate(report: Report, earned: Decimal | None) -> Report:
    """Nobody expected a hundred times what was earned, or a hundredth; nor nothing at all."""
    if report.estimate is None:
        return report
    expected = report.estimate.eps_diluted
    actual = earned or expected
    small, large = sorted((abs(expected), abs(actual)))
    is_far = (expected * actual < 0 or large > _MISSED_BY * small) and abs(expected - actual) > _LEAST_MISSED
    return report.model_copy(update={"estimate": None}) if is_far or not expected else report
