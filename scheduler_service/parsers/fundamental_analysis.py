"""How a company stands: the records of the fundamentals domain, computed from its filings."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from scheduler_service.errors import ParseError
from scheduler_service.models import Check, Kind, Number, Provenance, Reason, Record
from scheduler_service.parsers.debt import total_debt
from scheduler_service.parsers.debt_lines import DEBT
from scheduler_service.parsers.doubt import altered, grew_old, of_another, shrank, together, zeroed
from scheduler_service.parsers.series import Figure
from scheduler_service.parsers.statements import (
    ASSETS,
    CASH,
    CASH_FLOWS,
    COSTS,
    EPS_DILUTED,
    GROSS_PROFIT,
    INCOME,
    INCOME_TAX,
    INTEREST,
    NET_INCOME,
    OPERATING_INCOME,
    OWNED,
    SHARES_DILUTED,
    equity,
    free_cash_flow,
    gross_profit,
    minus,
    net_income,
    plus,
    revenue,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.models import Contribution
    from scheduler_service.parsers.series import Series
    from scheduler_service.parsers.statements import Origin
    from scheduler_service.parsers.xbrl import CompanyFacts, Concept

CONCEPTS = (
    *INCOME,
    *INTEREST,
    *COSTS,
    GROSS_PROFIT,
    OPERATING_INCOME,
    INCOME_TAX,
    EPS_DILUTED,
    SHARES_DILUTED,
    ASSETS,
    CASH,
    *CASH_FLOWS,
    *OWNED,
    *DEBT,
)
STALE = dt.timedelta(days=380)
"""A count of shares older than this, seen from the newest figures, says nothing about them."""
_OTHER_SHARES = Decimal("1.1")
"""By which factor shares may differ whose earnings are taken off each other."""
_OTHER_UNITS = 500
"""Earnings are so many times those of the shares counted: one of them is in thousands."""
_RATIO = Decimal("0.000001")


class Metric(Record):
    """One figure. ``unit`` is a currency (``USD``), ``USD/share``, ``shares`` or ``ratio`` (a fraction: 0.25 is 25 %).

    ``as_of`` is the end of the period. ``check`` is "filing" where it follows from a filing, else whether one agrees.
    ``derived``: computed from several reported figures; ``eps_diluted_ttm`` then adds up shares that were counted at
    different times, and may differ by a cent or two from what the company would announce. ``accessions`` are the
    filings of all it was computed from, the newest first.
    """

    value: Number | None
    unit: str
    as_of: dt.date
    provenance: Provenance
    check: Literal["filing", "verified", "conflicting", "unverified"]
    derived: bool = False
    accessions: tuple[str, ...] = ()


class Analysis(Record):
    """A text, and the addresses of what it rests on."""

    text: str
    sources: tuple[str, ...] = ()
    provenance: Provenance


class FundamentalsData(Record):
    """The document's data. Names ending in ``_ttm``, the margins and the returns are of the twelve months to ``as_of``.

    Returns are on what there was at the end of them: ``roe`` net income on equity, ``roa`` on all assets, ``roic``
    operating income less income tax on equity and debt.
    """

    metrics: dict[str, Metric] = Field(default_factory=dict)
    analysis: Analysis | None = None
    checks: tuple[Check, ...] = ()
    """Of what models stated."""


def read_fundamentals(facts: CompanyFacts, origin: Origin) -> FundamentalsData:
    """What the filings say, as of the newest quarter or year, or of a newer part of a year whose twelve months follow.
    ``ParseError(NO_DATA)`` where there is no quarter and no year.
    """
    as_of = _as_of(facts)
    if as_of is None:
        raise ParseError(
            f"the companyfacts of CIK {facts.cik} ({facts.name}) hold revenue or net income of no quarter and no year",
            Reason.NO_DATA,
        )
    money, per_share = facts.currency, f"{facts.currency}/share"

    def trailing(concept: Concept) -> Figure | None:
        return facts[concept].trailing(as_of)

    sales, profit, operating = revenue(trailing), net_income(facts, trailing), trailing(OPERATING_INCOME)
    debt, own, assets = total_debt(facts, as_of), equity(facts, as_of), facts[ASSETS].instants.get(as_of)
    figures: dict[str, tuple[Figure | None, str]] = {
        "revenue_ttm": (sales, money),
        "net_income_ttm": (profit, money),
        "eps_diluted_ttm": (_per_share(facts, as_of), per_share),
        "gross_margin": (_ratio(gross_profit(trailing), sales), "ratio"),
        "operating_margin": (_ratio(operating, sales), "ratio"),
        "net_margin": (_ratio(profit, sales), "ratio"),
        "total_debt": (debt, money),
        "cash": (facts[CASH].instants.get(as_of), money),
        "equity": (own, money),
        "debt_to_equity": (_ratio(debt, own), "ratio"),
        "roe": (_ratio(profit, own), "ratio"),
        "roa": (_ratio(profit, assets), "ratio"),
        "roic": (_ratio(minus(operating, trailing(INCOME_TAX)), plus(debt, own)), "ratio"),
        "free_cash_flow_ttm": (free_cash_flow(trailing), money),
        "shares_diluted": (_shares(facts, as_of), "shares"),
    }
    return FundamentalsData(metrics={name: _metric(f, unit, as_of, origin) for name, (f, unit) in figures.items()})


def _as_of(facts: CompanyFacts) -> dt.date | None:
    """Companies abroad report halves and no quarters; the twelve months to the end of one follow from the year."""
    newest = max((day for concept in INCOME if (day := facts[concept].newest)), default=None)
    if newest is None:
        return None
    told = [series for c in INCOME if newest in (series := facts[c]).years or newest in series.quarters]
    parts = {end for series in told if (end := series.newest_part) is not None and end > newest}
    return max((end for end in parts if all(series.trailing(end) for series in told)), default=newest)


def merge_fundamentals(contributions: Sequence[Contribution[FundamentalsData]]) -> FundamentalsData:
    """Per metric the best source that knows its value wins: filing over market over feed over model.

    Between sources of one kind the order given decides, and it is the caller's to fix. A source that counts in another
    unit or currency than the better ones adds nothing to their figures.
    """
    ranks = {kind: rank for rank, kind in enumerate(Kind)}
    best_first = [c.data for c in sorted(contributions, key=lambda c: ranks[c.kind])]
    metrics: dict[str, Metric] = {}
    currency: str | None = None
    for data in best_first:
        for name, metric in data.metrics.items():
            before = metrics.get(name)
            if before is not None and (before.value is not None or metric.value is None or before.unit != metric.unit):
                continue
            currency = currency or _currency(metric)
            if _currency(metric) in (None, currency):
                metrics[name] = metric
    analysis = next((data.analysis for data in best_first if data.analysis), None)
    return FundamentalsData(metrics=dict(sorted(metrics.items())), analysis=analysis)


def doubt_fundamentals(before: FundamentalsData, now: FundamentalsData) -> str | None:
    """What speaks against ``now``, of the same source as ``before``. Restated figures bring a filing with them."""
    old, new = _known(before), _known(now)
    filings = {metric.provenance.accession for metric in old.values()}
    return together(
        of_another((m.provenance for m in old.values()), (m.provenance for m in new.values())),
        shrank("figures", len(old), len(new)),
        None if now.analysis or new or not before.analysis else "it holds no analysis, and held one",
        grew_old("figure", _newest_day(old), _newest_day(new)),
        altered(
            (name, old[name].value, metric.value)
            for name, metric in new.items()
            if name in old
            and (old[name].unit, old[name].as_of) == (metric.unit, metric.as_of)
            and metric.provenance.accession is not None
            and metric.provenance.accession in filings
        ),
        zeroed({name: m.value for name, m in old.items()}, {name: m.value for name, m in new.items()}),
    )


def _known(data: FundamentalsData) -> dict[str, Metric]:
    return {name: metric for name, metric in data.metrics.items() if metric.value is not None}


def _newest_day(metrics: dict[str, Metric]) -> dt.date | None:
    """Of days that were over when they were told: a model may tell of one to come."""
    told = (m.as_of for m in metrics.values() if m.as_of.isoformat() <= m.provenance.fetched_at)
    return max(told, default=None)


def _currency(metric: Metric) -> str | None:
    return None if metric.unit in ("ratio", "shares") else metric.unit.removesuffix("/share")


def _metric(figure: Figure | None, unit: str, as_of: dt.date, origin: Origin) -> Metric:
    if figure is None:
        return Metric(value=None, unit=unit, as_of=as_of, provenance=origin(None), check="filing")
    filings = sorted({part.filings[0] for part in figure.parts}, reverse=True)
    return Metric(
        value=figure.value,
        unit=unit,
        as_of=figure.end,
        provenance=origin(filings[0].accession),
        check="filing",
        derived=figure.derived or len(figure.parts) > 1,
        accessions=tuple(filing.accession for filing in filings),
    )


def _ratio(part: Figure | None, whole: Figure | None) -> Figure | None:
    """None also where the base is zero or negative: such a ratio means nothing."""
    if part is None or whole is None or whole.value <= 0:
        return None
    value = (part.value / whole.value).quantize(_RATIO) if abs(part.value) < whole.value * 10**9 else None
    return None if value is None else Figure(part.start, part.end, value, part.parts + whole.parts, derived=True)


def _per_share(facts: CompanyFacts, as_of: dt.date) -> Figure | None:
    """Not where the shares became many more, or fewer, towards the end of the year before: what it earned per share
    less what its first part did is then of neither.
    """
    found = facts[EPS_DILUTED].trailing(as_of)
    if found is None or len(found.parts) != len(("part", "year", "last part")):
        return found
    counts = [count for part in found.parts[1:] if (count := _counted(facts, part.start, part.end))]
    return None if counts and max(counts) > _OTHER_SHARES * min(counts) else found


def _counted(facts: CompanyFacts, start: dt.date | None, end: dt.date) -> Decimal | None:
    tags = facts[SHARES_DILUTED].tags
    return next((tag[start, end].value for tag in tags if (start, end) in tag), None)


def _shares(facts: CompanyFacts, as_of: dt.date) -> Figure | None:
    """Not where earnings in whole and per share are of a thousand times as many, or of a thousandth."""
    found = _newest(facts[SHARES_DILUTED], as_of)
    if found is None:
        return None
    kinds = ((s.quarters.get(found.end), s.years.get(found.end)) for s in (facts[NET_INCOME], facts[EPS_DILUTED]))
    whole, each = (next((f for f in said if f is not None and f.start == found.start), None) for said in kinds)
    if whole is None or each is None or whole.value * each.value <= 0:
        return found
    small, large = sorted((whole.value / each.value, found.value))
    return found if large <= _OTHER_UNITS * small else None


def _newest(series: Series, as_of: dt.date) -> Figure | None:
    end = series.newest
    if end is None or as_of - end > STALE:
        return None
    return series.quarters.get(end) or series.years.get(end)
