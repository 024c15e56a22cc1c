"""What a company reported, period by period: the records of the earnings domain, read from its filings."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Literal, TypeAlias

from scheduler_service.errors import ParseError
from scheduler_service.models import Check, Kind, Number, Provenance, Reason, Record
from scheduler_service.parsers.statements import (
    COST_OF_REVENUE,
    DEBT,
    EPS_DILUTED,
    EQUITY,
    GROSS_PROFIT,
    NET_INCOME,
    REVENUE,
    filing_of,
    gross_profit,
    total_debt,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scheduler_service.models import Contribution
    from scheduler_service.parsers.series import Figure, Series
    from scheduler_service.parsers.statements import Origin
    from scheduler_service.parsers.submissions import Submissions
    from scheduler_service.parsers.xbrl import CompanyFacts, Concept

CONCEPTS = (REVENUE, COST_OF_REVENUE, GROSS_PROFIT, NET_INCOME, EPS_DILUTED, EQUITY, *DEBT)
HISTORY = dt.timedelta(days=5 * 366)
"""How far back from the newest report the reports go."""
PeriodKind: TypeAlias = Literal["quarter", "year"]

SAME_PERIOD: dict[PeriodKind, dt.timedelta] = {"quarter": dt.timedelta(days=40), "year": dt.timedelta(days=175)}
"""Two sources may end one period a few days apart (2025-09-27, 2025-09-30), or weeks where one goes by the calendar.
Ends closer than half a period are of one and the same.
"""


class Report(Record):
    """One quarter or year. Null is unknown, never nothing.

    ``filed`` and ``accession`` are of the filing that the figures of its income come from; where other filings carry
    some (a balance sheet restated later, the nine months a fourth quarter was derived from), ``other_accessions`` names
    them. ``derived``: the quarter was not reported alone, its figures are the difference of two reported ones.
    """

    period_end: dt.date
    period_start: dt.date
    fiscal_label: str | None = None
    kind: PeriodKind
    revenue: Number | None
    gross_profit: Number | None = None
    net_income: Number | None
    eps_diluted: Number | None = None
    total_debt: Number | None = None
    equity: Number | None = None
    currency: str
    filed: dt.date
    accession: str | None = None
    other_accessions: tuple[str, ...] = ()
    derived: bool = False
    provenance: Provenance


class NextReport(Record):
    """When the next report is expected: before the market opens, after it closes, or not known."""

    date: dt.date
    time: Literal["bmo", "amc", "unknown"] = "unknown"
    confirmed: bool = False
    source: str


class Release(Record):
    """An announcement of results (form 8-K, item 2.02), with the link to it."""

    date: dt.date
    form: str
    accession: str
    items: tuple[str, ...] = ()
    url: str | None = None


class EarningsData(Record):
    """The document's data; reports and releases newest first."""

    reports: tuple[Report, ...] = ()
    next_report: NextReport | None = None
    releases: tuple[Release, ...] = ()
    checks: tuple[Check, ...] = ()
    """Of what models stated."""


def read_earnings(facts: CompanyFacts, submissions: Submissions, origin: Origin) -> EarningsData:
    """What the filings say. ``ParseError(NO_DATA)`` where they hold no quarter and no year."""
    reports = sorted((*_reports(facts, "quarter", origin), *_reports(facts, "year", origin)), key=newest_first)
    if not reports:
        raise ParseError(
            f"the companyfacts of CIK {facts.cik} ({facts.name}) hold revenue or net income of no quarter and no year",
            Reason.NO_DATA,
        )
    since = reports[0].period_end - HISTORY
    releases = (
        Release(date=f.filed, form=f.form, accession=f.accession, items=f.items, url=origin(f.accession).url)
        for f in submissions.releases
        if f.filed >= since
    )
    return EarningsData(reports=tuple(r for r in reports if r.period_end >= since), releases=tuple(releases))


def merge_earnings(contributions: Sequence[Contribution[EarningsData]]) -> EarningsData:
    """Per period and per release the better source wins, whole: filing over market over feed over model.

    Between sources of one kind the order given decides, and it is the caller's to fix.
    """
    ranks = {kind: rank for rank, kind in enumerate(Kind)}
    best_first = [c.data for c in sorted(contributions, key=lambda c: ranks[c.kind])]
    reports: list[Report] = []
    releases: dict[str, Release] = {}
    for data in best_first:
        known = tuple(reports)
        reports.extend(r for r in data.reports if not any(same_period(r, k) for k in known))
        for release in data.releases:
            releases.setdefault(release.accession, release)
    return EarningsData(
        reports=tuple(sorted(reports, key=newest_first)),
        next_report=next((data.next_report for data in best_first if data.next_report), None),
        releases=tuple(sorted(releases.values(), key=lambda r: (r.date, r.accession), reverse=True)),
    )


def _reports(facts: CompanyFacts, kind: PeriodKind, origin: Origin) -> Iterable[Report]:
    ends = {*_figures(facts[REVENUE], kind), *_figures(facts[NET_INCOME], kind)}
    return (_report(facts, kind, end, origin) for end in ends)


def _report(facts: CompanyFacts, kind: PeriodKind, end: dt.date, origin: Origin) -> Report:
    def pick(concept: Concept) -> Figure | None:
        return _figures(facts[concept], kind).get(end)

    revenue, net_income, gross, eps = pick(REVENUE), pick(NET_INCOME), gross_profit(pick), pick(EPS_DILUTED)
    debt, equity = total_debt(facts, end), facts[EQUITY].instants.get(end)
    income = [figure for figure in (revenue, net_income, gross, eps) if figure is not None]
    leading = income[0]
    filing = filing_of([figure.parts[0] for figure in income])
    parts = [part for figure in (*income, debt, equity) if figure is not None for part in figure.parts]
    others = {part.filings[0].accession for part in parts if filing not in part.filings}
    return Report(
        period_end=end,
        period_start=leading.start or end,
        fiscal_label=_label(facts, kind, end),
        kind=kind,
        revenue=_value(revenue),
        gross_profit=_value(gross),
        net_income=_value(net_income),
        eps_diluted=_value(eps),
        total_debt=_value(debt),
        equity=_value(equity),
        currency=facts.currency,
        filed=filing.filed,
        accession=filing.accession,
        other_accessions=tuple(sorted(others)),
        derived=any(figure.derived for figure in income),
        provenance=origin(filing.accession),
    )


def _figures(series: Series, kind: PeriodKind) -> Mapping[dt.date, Figure]:
    return series.quarters if kind == "quarter" else series.years


def _label(facts: CompanyFacts, kind: PeriodKind, end: dt.date) -> str | None:
    """``FY2025``, ``FY2025 Q3``; the year's filing is also that of its last quarter."""
    year, period = facts.fiscal.get(end, (0, ""))
    if period == "FY":
        return f"FY{year}" if kind == "year" else f"FY{year} Q4"
    return f"FY{year} {period}" if period and kind == "quarter" else None


def _value(figure: Figure | None) -> Number | None:
    return None if figure is None else figure.value


def newest_first(report: Report) -> tuple[int, int]:
    """Sorting key; a year comes before the quarter it ends with."""
    return -report.period_end.toordinal(), 0 if report.kind == "year" else 1


def same_period(one: Report, other: Report) -> bool:
    return one.kind == other.kind and abs(one.period_end - other.period_end) <= SAME_PERIOD[one.kind]
