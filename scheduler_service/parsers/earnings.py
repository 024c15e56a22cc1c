"""What a company reported, period by period: the records of the earnings domain, read from its filings."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeAlias

from scheduler_service.errors import ParseError
from scheduler_service.models import Check, Kind, Number, Provenance, Reason, Record
from scheduler_service.parsers.debt import total_debt
from scheduler_service.parsers.debt_lines import DEBT
from scheduler_service.parsers.doubt import altered, grew_old, of_another, shrank, together, zeroed
from scheduler_service.parsers.releases import (
    announcements,
    expected_next,
    one_each,
    results_by_title,
    results_with_figures,
)
from scheduler_service.parsers.statements import (
    COSTS,
    EPS_DILUTED,
    GROSS_PROFIT,
    INCOME,
    INTEREST,
    OWNED,
    SHARES_DILUTED,
    equity,
    filing_of,
    gross_profit,
    net_income,
    revenue,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scheduler_service.models import Contribution
    from scheduler_service.parsers.releases import Announcement
    from scheduler_service.parsers.series import Figure, Series
    from scheduler_service.parsers.statements import Origin
    from scheduler_service.parsers.submissions import Submissions
    from scheduler_service.parsers.xbrl import CompanyFacts, Concept

CONCEPTS = (*INCOME, *INTEREST, *COSTS, GROSS_PROFIT, EPS_DILUTED, SHARES_DILUTED, *OWNED, *DEBT)
HISTORY = dt.timedelta(days=5 * 366)
"""How far back from the newest report the reports go."""
SAME_RESULTS = dt.timedelta(days=10)
"""Results come some days before or after the day that pages name; the next ones take weeks."""
CENT, FRACTION = Decimal("0.01"), Decimal("0.0001")
PeriodKind: TypeAlias = Literal["quarter", "year"]

SAME_PERIOD: dict[PeriodKind, dt.timedelta] = {"quarter": dt.timedelta(days=40), "year": dt.timedelta(days=175)}
"""Two sources may end one period a few days apart (2025-09-27, 2025-09-30), or weeks where one goes by the calendar.
Ends closer than half a period are of one and the same.
"""


class Estimate(Record):
    """Diluted earnings per share as analysts expected them.

    ``surprise``: by which fraction of it they were exceeded; null where those who state the estimate state earnings
    that differ from the reported ones, for then it is of adjusted earnings, and where less than a cent was expected.
    """

    eps_diluted: Number
    surprise: Number | None = None
    provenance: Provenance


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
    estimate: Estimate | None = None
    provenance: Provenance


class NextReport(Record):
    """When the next report is expected: before the market opens, after it closes, or not known.

    Not ``confirmed``: reckoned from the years before, or stated by somebody else than the company.
    """

    date: dt.date
    time: Literal["bmo", "amc", "unknown"] = "unknown"
    confirmed: bool = False
    source: str


class Exhibit(Record):
    """A document of a filing: of which ``type`` (``EX-99.1`` is the text of an announcement), and where it is."""

    type: str
    name: str
    url: str


class Release(Record):
    """An announcement: form 8-K under item 2.02, or a foreign company's 6-K that is certain to tell results. ``url``
    leads to it, ``exhibits_url`` to the list of its documents.

    ``about``: "results" of the period that ended on ``period_end``, an "amendment", something "other" (deliveries,
    monthly sales, preliminary figures), or "unknown". ``time``: before the market opened or after it closed.
    """

    date: dt.date
    form: str
    accession: str
    items: tuple[str, ...] = ()
    url: str | None = None
    exhibits_url: str | None = None
    exhibits: tuple[Exhibit, ...] | None = None
    """Null: not read. They are read once for each new announcement of results."""
    about: Literal["results", "amendment", "other", "unknown"] = "unknown"
    period_end: dt.date | None = None
    time: Literal["bmo", "amc", "unknown"] = "unknown"


class EarningsData(Record):
    """The document's data; reports and releases newest first."""

    reports: tuple[Report, ...] = ()
    next_report: NextReport | None = None
    releases: tuple[Release, ...] = ()
    checks: tuple[Check, ...] = ()
    """Of what models stated."""


def read_earnings(
    facts: CompanyFacts, submissions: Submissions, origin: Origin, today: dt.date | None = None
) -> EarningsData:
    """What the filings say, and what they let expect ``today``. ``ParseError(NO_DATA)``: no quarter and no year."""
    reports = sorted((*_reports(facts, "quarter", origin), *_reports(facts, "year", origin)), key=newest_first)
    if not reports:
        raise ParseError(
            f"the companyfacts of CIK {facts.cik} ({facts.name}) hold revenue or net income of no quarter and no year",
            Reason.NO_DATA,
        )
    since = reports[0].period_end - HISTORY
    found = announcements(submissions)
    foreign = (*results_with_figures(facts, submissions), *results_by_title(submissions))
    told = one_each((*found, *foreign))
    ends = {report.period_end for report in reports}
    expected = None if today is None else expected_next(told, submissions, today, ends)
    return EarningsData(
        reports=tuple(r for r in reports if r.period_end >= since),
        next_report=None if expected is None else NextReport(date=expected.date, time=expected.time, source="edgar"),
        releases=tuple(_release(a, origin) for a in told if a.filing.filed >= since),
    )


def _release(found: Announcement, origin: Origin) -> Release:
    filing, url = found.filing, origin(found.filing.accession).url
    return Release(
        date=filing.filed,
        form=filing.form,
        accession=filing.accession,
        items=filing.items,
        url=url,
        exhibits_url=None if url is None else f"{url.rpartition('/')[0]}/{filing.accession}-index.htm",
        about=found.about,
        period_end=found.period_end,
        time=found.time,
    )


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
        reports=tuple(_with_estimate(r, best_first) for r in sorted(reports, key=newest_first)),
        next_report=_next_report([data.next_report for data in best_first if data.next_report], releases.values()),
        releases=tuple(sorted(releases.values(), key=lambda r: (r.date, r.accession), reverse=True)),
    )


def doubt_earnings(before: EarningsData, now: EarningsData) -> str | None:
    """What speaks against ``now``, of the same source as ``before``. Restated figures bring a filing with them."""
    pairs = [(old, new) for new in now.reports if (old := _same_report(new, before.reports)) is not None]
    newest_filing = max((r.filed for r in before.reports), default=dt.date.min)
    known = {name for report in before.reports for name in _accessions(report)}

    def is_new(report: Report) -> bool:
        leading_is_new = report.accession not in known and report.filed >= newest_filing
        return leading_is_new or any(name not in known for name in report.other_accessions)

    return together(
        of_another((r.provenance for r in before.reports), (r.provenance for r in now.reports)),
        shrank("reports", len(before.reports), len(now.reports)),
        shrank("releases", len(before.releases), len(now.releases)),
        grew_old("report", _newest_end(before), _newest_end(now)),
        altered(
            (f"{name} of {new.fiscal_label or new.period_end}", _figures_of(old)[name], figure)
            for old, new in pairs
            if new.accession is not None and old.currency == new.currency and not is_new(new)
            for name, figure in _figures_of(new).items()
        ),
        zeroed(_all_figures(before), _all_figures(now)),
    )


def _same_report(report: Report, among: Iterable[Report]) -> Report | None:
    return next((r for r in among if (r.kind, r.period_end) == (report.kind, report.period_end)), None)


def _accessions(report: Report) -> tuple[str, ...]:
    return (*([report.accession] if report.accession else []), *report.other_accessions)


def _figures_of(report: Report) -> dict[str, Number | None]:
    return {
        "revenue": report.revenue,
        "gross profit": report.gross_profit,
        "net income": report.net_income,
        "EPS": report.eps_diluted,
        "equity": report.equity,
    }


def _all_figures(data: EarningsData) -> dict[str, Number | None]:
    named = ((f"{r.kind} to {r.period_end}", _figures_of(r)) for r in data.reports)
    return {f"{name} of the {period}": value for period, figures in named for name, value in figures.items()}


def _newest_end(data: EarningsData) -> dt.date | None:
    """Of periods that were over when they were told: a model may tell of one to come."""
    told = (r.period_end for r in data.reports if r.period_end.isoformat() <= r.provenance.fetched_at)
    return max(told, default=None)


def _with_estimate(report: Report, best_first: Sequence[EarningsData]) -> Report:
    """With the best source's estimate for its period, and the surprise."""
    told = next((r for d in best_first for r in d.reports if r.estimate and same_period(r, report)), None)
    if told is None or told.estimate is None or told.currency != report.currency:
        return report.model_copy(update={"estimate": None}) if report.estimate else report
    expected, earned, surprise = told.estimate.eps_diluted, report.eps_diluted, None
    same_basis = earned is not None and told.eps_diluted is not None and abs(earned - told.eps_diluted) <= CENT
    if earned is not None and same_basis and abs(expected) >= CENT:
        surprise = ((earned - expected) / abs(expected)).quantize(FRACTION)
    return report.model_copy(update={"estimate": told.estimate.model_copy(update={"surprise": surprise})})


def _next_report(told: Sequence[NextReport], releases: Iterable[Release]) -> NextReport | None:
    """A confirmed date before an expected one, and none so soon after results that it was theirs."""
    newest = max((r.date for r in releases if r.about == "results"), default=dt.date.min)
    ahead = [report for report in told if report.date - newest > SAME_RESULTS]
    return next((report for report in ahead if report.confirmed), ahead[0] if ahead else None)


def _reports(facts: CompanyFacts, kind: PeriodKind, origin: Origin) -> Iterable[Report]:
    ends = {end for concept in INCOME for end in _figures(facts[concept], kind)}
    return (report for end in ends if (report := _report(facts, kind, end, origin)) is not None)


def _report(facts: CompanyFacts, kind: PeriodKind, end: dt.date, origin: Origin) -> Report | None:
    def pick(concept: Concept) -> Figure | None:
        return _figures(facts[concept], kind).get(end)

    sales, profit, gross, eps = revenue(pick), net_income(facts, pick), gross_profit(pick), pick(EPS_DILUTED)
    if sales is None and profit is None:
        return None
    debt, own = total_debt(facts, end), equity(facts, end)
    income = [figure for figure in (sales, profit, gross, eps) if figure is not None]
    leading = income[0]
    filing = filing_of([figure.parts[0] for figure in income])
    parts = [part for figure in (*income, debt, own) if figure is not None for part in figure.parts]
    others = {part.filings[0].accession for part in parts if filing not in part.filings}
    return Report(
        period_end=end,
        period_start=leading.start or end,
        fiscal_label=_label(facts, kind, end),
        kind=kind,
        revenue=_value(sales),
        gross_profit=_value(gross),
        net_income=_value(profit),
        eps_diluted=_value(eps),
        total_debt=_value(debt),
        equity=_value(own),
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
