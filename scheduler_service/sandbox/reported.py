"""What a company had reported by some day, as somebody tells it who has read its filings."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypeAlias

from scheduler_service.errors import ParseError
from scheduler_service.parsers.debt import total_debt
from scheduler_service.parsers.debt_lines import DEBT
from scheduler_service.parsers.statements import (
    CAPITAL_EXPENDITURE,
    CASH,
    COSTS,
    EPS_DILUTED,
    EQUITY,
    GROSS_PROFIT,
    INCOME,
    INTEREST,
    NET_INCOME,
    OPERATING_CASH_FLOW,
    OPERATING_INCOME,
    REVENUE,
    SHARES_DILUTED,
    gross_profit,
)
from scheduler_service.parsers.xbrl import parse_company_facts
from scheduler_service.sandbox import edgar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from scheduler_service.parsers.series import Figure
    from scheduler_service.parsers.xbrl import CompanyFacts
    from scheduler_service.sandbox.company import Company

Amount: TypeAlias = int | float

QUARTERS_TOLD = 5
YEARS_TOLD = 2
MISSTATED_REVENUE = {"INITX": Decimal("1.04")}
"""Told 4 % too high on purpose, so that comparing what a model says with the filings has something to find."""

_CONCEPTS = (
    *(*INCOME, *INTEREST, *COSTS, GROSS_PROFIT, OPERATING_INCOME, EPS_DILUTED, SHARES_DILUTED),
    *(EQUITY, CASH, OPERATING_CASH_FLOW, CAPITAL_EXPENDITURE, *DEBT),
)


@dataclass(frozen=True, slots=True)
class ReportedPeriod:
    """A quarter or year. ``figures`` by name (``revenue``, ``eps_diluted``...): what is not known is not there."""

    kind: str
    start: date
    end: date
    filed: date
    figures: Mapping[str, Amount]


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One figure of how the company stands, over the twelve months up to ``as_of`` or on that day."""

    name: str
    value: Amount
    unit: str
    as_of: date


@dataclass(frozen=True, slots=True)
class Reported:
    """Periods newest first. Empty before the first report."""

    currency: str = "USD"
    periods: tuple[ReportedPeriod, ...] = ()
    key_figures: tuple[KeyFigure, ...] = ()


@lru_cache(maxsize=64)
def reported(company: Company, filed: int) -> Reported:
    """What follows from the first ``filed`` of its filings."""
    try:
        facts = parse_company_facts(edgar.companyfacts(company, filed), _CONCEPTS)
    except ParseError:
        return Reported()
    told = MISSTATED_REVENUE.get(company.profile.symbol, Decimal(1))
    quarters, years = facts[NET_INCOME].quarters, facts[NET_INCOME].years
    periods = [_period(facts, "quarter", quarters[end], told) for end in sorted(quarters)[-QUARTERS_TOLD:]]
    periods += [_period(facts, "year", years[end], told) for end in sorted(years)[-YEARS_TOLD:]]
    periods.sort(key=lambda period: (period.end, period.kind), reverse=True)
    return Reported(facts.currency, tuple(periods), _key_figures(facts, told))


def _period(facts: CompanyFacts, kind: str, leading: Figure, told: Decimal) -> ReportedPeriod:
    end = leading.end
    series = {c: facts[c].quarters if kind == "quarter" else facts[c].years for c in _CONCEPTS}
    revenue = series[REVENUE].get(end)
    figures = {
        "revenue": None if revenue is None else revenue.value * told,
        "gross_profit": _value(gross_profit(lambda concept: series[concept].get(end))),
        "operating_income": _value(series[OPERATING_INCOME].get(end)),
        "net_income": leading.value,
        "eps_diluted": _value(series[EPS_DILUTED].get(end)),
        "total_debt": _value(total_debt(facts, end)),
        "equity": _value(facts[EQUITY].instants.get(end)),
        "cash": _value(facts[CASH].instants.get(end)),
    }
    filed = leading.parts[0].filings[0].filed
    return ReportedPeriod(kind, leading.start or end, end, filed, _known(figures))


def _key_figures(facts: CompanyFacts, told: Decimal) -> tuple[KeyFigure, ...]:
    as_of = facts[NET_INCOME].newest
    if as_of is None:
        return ()
    trailing = {concept: _value(facts[concept].trailing(as_of)) for concept in _CONCEPTS}
    per = partial(_ratio, below=trailing[REVENUE])
    revenue, net_income = trailing[REVENUE], trailing[NET_INCOME]
    debt, equity = _value(total_debt(facts, as_of)), _value(facts[EQUITY].instants.get(as_of))
    earned, spent = trailing[OPERATING_CASH_FLOW], trailing[CAPITAL_EXPENDITURE]
    shares = facts[SHARES_DILUTED].quarters.get(as_of) or facts[SHARES_DILUTED].years.get(as_of)
    money = facts.currency
    figures = {
        ("revenue_ttm", money): None if revenue is None else revenue * told,
        ("net_income_ttm", money): net_income,
        ("eps_diluted_ttm", f"{money}/share"): trailing[EPS_DILUTED],
        ("gross_margin", "ratio"): per(_value(gross_profit(lambda concept: facts[concept].trailing(as_of)))),
        ("operating_margin", "ratio"): per(trailing[OPERATING_INCOME]),
        ("net_margin", "ratio"): per(net_income),
        ("total_debt", money): debt,
        ("cash", money): _value(facts[CASH].instants.get(as_of)),
        ("equity", money): equity,
        ("debt_to_equity", "ratio"): _ratio(debt, equity),
        ("roe", "ratio"): _ratio(net_income, equity),
        ("free_cash_flow_ttm", money): None if earned is None or spent is None else earned - spent,
        ("shares_diluted", "shares"): _value(shares),
    }
    return tuple(
        KeyFigure(name, _plain(value), unit, as_of) for (name, unit), value in figures.items() if value is not None
    )


def _value(figure: Figure | None) -> Decimal | None:
    return None if figure is None else figure.value


def _ratio(above: Decimal | None, below: Decimal | None) -> Decimal | None:
    return None if above is None or below is None or below <= 0 else round(above / below, 4)


def _known(figures: Mapping[str, Decimal | None]) -> dict[str, Amount]:
    return {name: _plain(value) for name, value in figures.items() if value is not None}


def _plain(value: Decimal) -> Amount:
    """Money to the unit; only what is smaller than a thousand has decimals."""
    rounded = round(value, 4) if abs(value) < 1_000 else round(value)
    return int(rounded) if rounded == int(rounded) else float(rounded)
