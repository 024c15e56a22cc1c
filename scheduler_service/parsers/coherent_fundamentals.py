"""The metrics of one answer beside each other, and beside the filings: what cannot be true together is unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING

from scheduler_service.models import Kind
from scheduler_service.parsers.checking import SAME_END
from scheduler_service.parsers.coherence import (
    LEAST_KEPT,
    MOST_LOST,
    agreed,
    far_apart,
    in_words,
    is_told_of_two,
    keeps_too_much_or_little,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from scheduler_service.models import Contribution
    from scheduler_service.parsers.fundamental_analysis import FundamentalsData, Metric

AMOUNTS = ("revenue_ttm", "net_income_ttm", "total_debt", "cash", "equity", "free_cash_flow_ttm")
OF_EQUITY = ("debt_to_equity", "roe")
MARGINS = ("gross_margin", "operating_margin", "net_margin")
_PERCENT_TAKEN_FOR_FRACTION = Decimal(50)
_REVENUES_OWNED = Decimal(20)
"""Debt, cash or equity in revenues of a year: more seems to be counted in thousands beside it."""
_GAINED = Decimal("0.2")
"""Of revenue, beside what is earned by operating: more is as likely a sign that was lost."""
_UNKNOWN = (None, 0, -1)
_POINTS = Decimal("0.02")
"""A margin may be that far from the one that follows: rounding, not another period or measure."""


@dataclass(frozen=True, slots=True)
class Quotient:
    """A metric that is one metric by another, within a factor of ``most``: shares and equity are counted on one day
    or as an average, debt with leases or without.
    """

    name: str
    above: str
    below: str
    most: Decimal = Decimal("1.5")


QUOTIENTS = (
    Quotient("net_margin", "net_income_ttm", "revenue_ttm", Decimal(1)),
    Quotient("eps_diluted_ttm", "net_income_ttm", "shares_diluted"),
    Quotient("roe", "net_income_ttm", "equity"),
    Quotient("debt_to_equity", "total_debt", "equity"),
)


def united(stated: Iterable[tuple[str, Metric]]) -> dict[str, Metric]:
    """The rows of one answer, in whatever order they come: one for each name, of its newest day, the more precise of
    two; none where they contradict each other.
    """
    rows: dict[str, list[Metric]] = {}
    for name, metric in stated:
        rows.setdefault(name, []).append(metric)
    found = {name: _united(said) for name, said in rows.items()}
    return {name: metric for name, metric in sorted(found.items()) if metric is not None}


def coherent(data: FundamentalsData) -> FundamentalsData:
    """What a model states, without metrics that cannot be true together. Zero, or minus one, is what somebody writes
    who knows nothing. No amounts are left of an answer in several currencies: one of them is wrong. What follows from
    filings stays as it is.
    """
    stated = {name: m for name, m in data.metrics.items() if m.check != "filing" and m.value not in _UNKNOWN}
    if len({currency for metric in stated.values() if (currency := _currency(metric))}) > 1:
        stated = {name: metric for name, metric in stated.items() if _currency(metric) is None}
    kept = _together(stated)
    metrics = {name: metric for name, metric in data.metrics.items() if metric.check == "filing" or name in kept}
    return data.model_copy(update={"metrics": metrics})


def believed(contributions: Sequence[Contribution[FundamentalsData]]) -> list[Contribution[FundamentalsData]]:
    """What models state as far as it can be true together, and beside the filings: in their currency or not at all."""
    filed = {
        name: metric
        for said in contributions
        if said.kind is Kind.FILING
        for name, metric in said.data.metrics.items()
        if metric.value is not None
    }
    return [_believed(said, filed) if said.kind is Kind.MODEL else said for said in contributions]


def doubted(data: FundamentalsData) -> str | None:
    """In words, how much of what a model states is not believed."""
    return in_words(len(data.metrics) - len(coherent(data).metrics), len(data.metrics))


def _believed(said: Contribution[FundamentalsData], filed: Mapping[str, Metric]) -> Contribution[FundamentalsData]:
    currencies = {_currency(metric) for metric in filed.values()} - {None}
    stated = {
        name: metric
        for name, metric in coherent(said.data).metrics.items()
        if name not in filed and (not currencies or _currency(metric) in {None, *currencies})
    }
    beside = _together({**filed, **stated})
    kept = {name: metric for name, metric in stated.items() if name in beside}
    return replace(said, data=said.data.model_copy(update={"metrics": kept}))


def _united(rows: Sequence[Metric]) -> Metric | None:
    if len(rows) == 1:
        return rows[0]
    newest = max(metric.as_of for metric in rows)
    said = sorted(
        (metric for metric in rows if newest - metric.as_of <= SAME_END), key=lambda metric: metric.model_dump_json()
    )
    if len({metric.unit for metric in said}) > 1:
        return None
    value = agreed((metric.value for metric in said if metric.value is not None), said[0].unit)
    return next((metric for metric in said if metric.value == value), None)


def _together(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    doubted = set(_doubted(metrics))
    return {name: metric for name, metric in metrics.items() if name not in doubted}


def _doubted(metrics: Mapping[str, Metric]) -> Iterator[str]:
    """The names of those that contradict each other, found before any is taken out."""
    values = {name: metric.value for name, metric in metrics.items() if metric.value is not None}
    yield from _doubted_amounts({name: values[name] for name in AMOUNTS if name in values})
    yield from _doubted_ratios(values)
    for quotient in QUOTIENTS:
        names = (quotient.name, quotient.above, quotient.below)
        stated, above, below = (values.get(name) for name in names)
        if stated is None or above is None or below is None or below <= 0:
            continue
        if _of_one_day(metrics[name] for name in names) and not _fits(quotient, stated, above, below):
            yield from names


def _doubted_amounts(amounts: Mapping[str, Decimal]) -> Iterator[str]:
    if far_apart(amounts.values(), 1 / LEAST_KEPT):
        yield from amounts
    for one, other in combinations(amounts, 2):
        if is_told_of_two(amounts[one], [amounts[other]]):
            yield from (one, other)
    revenue, earned, free = (amounts.get(name) for name in ("revenue_ttm", "net_income_ttm", "free_cash_flow_ttm"))
    if not revenue:
        return
    if earned and keeps_too_much_or_little(revenue, earned):
        yield from ("revenue_ttm", "net_income_ttm")
    if free and abs(free) > MOST_LOST * revenue:
        yield from ("revenue_ttm", "free_cash_flow_ttm")
    owned = [name for name in ("total_debt", "cash", "equity") if name in amounts]
    if any(abs(amounts[name]) > _REVENUES_OWNED * revenue for name in owned):
        yield from ("revenue_ttm", *owned)


def _doubted_ratios(values: Mapping[str, Decimal]) -> Iterator[str]:
    if far_apart((values[name] for name in MARGINS if name in values), _PERCENT_TAKEN_FOR_FRACTION):
        yield from MARGINS
    gross, operating, net = (values.get(name) for name in MARGINS)
    if gross is not None and operating is not None and operating > gross + _POINTS:
        yield from ("gross_margin", "operating_margin")
    if net is not None and operating is not None and net > operating + _GAINED:
        yield from ("operating_margin", "net_margin")
    if values.get("equity", Decimal(1)) <= 0 and values.keys() & set(OF_EQUITY):
        yield from ("equity", *OF_EQUITY)  # on such equity a ratio means nothing


def _fits(quotient: Quotient, stated: Decimal, above: Decimal, below: Decimal) -> bool:
    follows = above / below
    if abs(stated - follows) <= _POINTS:
        return True
    if stated * follows <= 0:
        return False
    small, large = sorted((abs(stated), abs(follows)))
    return large <= small * quotient.most


def _of_one_day(metrics: Iterable[Metric]) -> bool:
    days = [metric.as_of for metric in metrics]
    return max(days) - min(days) <= SAME_END


def _currency(metric: Metric) -> str | None:
    return None if metric.unit in ("ratio", "shares") else metric.unit.removesuffix("/share")
