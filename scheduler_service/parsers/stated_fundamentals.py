"""Fundamentals as a language model states them: what it is asked, and which of its figures and words can be kept."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

from scheduler_service.clock import utc_day
from scheduler_service.errors import ParseError
from scheduler_service.models import Kind, Reason
from scheduler_service.parsers.coherent_fundamentals import united
from scheduler_service.parsers.fundamental_analysis import Analysis, FundamentalsData, Metric
from scheduler_service.parsers.json_values import as_date, as_list, as_object, as_text
from scheduler_service.parsers.model_answer import cited
from scheduler_service.parsers.model_prose import as_amount, as_money, as_per_share, plain
from scheduler_service.parsers.stated import (
    COMPANY,
    INTEGER_OR_NULL,
    LARGEST_AMOUNT,
    LARGEST_PER_SHARE,
    LEAST_AMOUNT,
    MOST_ROWS,
    NUMBER_OR_NULL,
    RULES_FOR_FIGURES,
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
    without_addresses,
)

if TYPE_CHECKING:
    from scheduler_service.calls import Answer
    from scheduler_service.parsers.model_answer import SearchResult
    from scheduler_service.parsers.stock_names import Stock


class Measured(Enum):
    """In what a metric is measured."""

    MONEY = "money"
    PER_SHARE = "per share"
    SHARES = "shares"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class Expected:
    """How a metric is measured, and between which values, limits included, it can be believed."""

    measured: Measured
    least: Decimal
    most: Decimal


_LARGEST_AMOUNT = LARGEST_AMOUNT - 1
_LARGEST_PER_SHARE = LARGEST_PER_SHARE - 1
_SIGNED_MONEY = Expected(Measured.MONEY, -_LARGEST_AMOUNT, _LARGEST_AMOUNT)
_MONEY = Expected(Measured.MONEY, Decimal(0), _LARGEST_AMOUNT)
# Beyond these a percentage is as likely as a fraction.
_MARGIN = Expected(Measured.RATIO, Decimal(-1), Decimal(1))

METRICS = {
    "revenue_ttm": Expected(Measured.MONEY, LEAST_AMOUNT, _LARGEST_AMOUNT),
    "net_income_ttm": _SIGNED_MONEY,
    "eps_diluted_ttm": Expected(Measured.PER_SHARE, -_LARGEST_PER_SHARE, _LARGEST_PER_SHARE),
    "gross_margin": _MARGIN,
    "operating_margin": _MARGIN,
    "net_margin": _MARGIN,
    "total_debt": _MONEY,
    "cash": _MONEY,
    "equity": _SIGNED_MONEY,
    "debt_to_equity": Expected(Measured.RATIO, Decimal(0), Decimal(5)),
    "roe": Expected(Measured.RATIO, Decimal(-2), Decimal(2)),
    "free_cash_flow_ttm": _SIGNED_MONEY,
    "shares_diluted": Expected(Measured.SHARES, Decimal(10) ** 5, Decimal(10) ** 12),
}

OLDEST = dt.timedelta(days=2 * 366)
LEAST_OTHER_AMOUNT = Decimal(10) ** 6
"""Of profit, debt, cash or equity: what is less is as likely meant in millions, or in billions."""
LONGEST_ANALYSIS = 4_000
MOST_SOURCES = 20

INSTRUCTIONS = RULES_FOR_FIGURES
SCHEMA = canonical(
    strict_object(
        {
            **COMPANY,
            "analysis": TEXT_OR_NULL,
            "analysis_sources": list_of({"type": "integer"}),
            "metrics": list_of(
                strict_object(
                    {
                        "name": one_of(*METRICS),
                        "value": NUMBER_OR_NULL,
                        "unit": TEXT_OR_NULL,
                        "as_of": TEXT_OR_NULL,
                        "source": INTEGER_OR_NULL,
                    }
                )
            ),
        }
    )
)
ASKED = fields(SCHEMA)

_PER_SHARE = re.compile(r"([A-Za-z]{3})(?:\s*/\s*share|\s+per\s+share)?s?")
_PERCENT = frozenset({"%", "percent", "percentage", "pct"})
_FRACTION = frozenset({"ratio", "fraction", "x"})
_SHARES = frozenset({"shares", "share"})


@dataclass(frozen=True, slots=True)
class StatedMetric:
    """One row as it was stated: None is what could not be read. ``unit`` is as in the document."""

    name: str
    value: Decimal | None
    unit: str | None
    as_of: dt.date | None
    source: SearchResult | None


@dataclass(frozen=True, slots=True)
class StatedFundamentals:
    """A model's answer about the company asked for, read but not yet judged; its text holds no addresses."""

    analysis: str
    analysis_sources: tuple[str, ...]
    metrics: tuple[StatedMetric, ...]


def question(stock: Stock) -> str:
    return (
        f"How does {stock} stand? As `analysis`, 150 to 300 words of plain text on its revenue and profit, debt and "
        "cash, what drives its business and its main risks, with the ids of the search results it rests on as "
        "`analysis_sources`. As `metrics`, one row for each named figure that a search result states: `_ttm` is the "
        "sum of the last twelve months, `as_of` the last day of the period or the day of the balance sheet. `unit` is "
        "the currency (ISO 4217) of an amount, the currency and /share for earnings per share (USD/share), `shares` "
        "for shares, `ratio` for margins, debt_to_equity and roe, which are fractions: 0.25, not 25 %."
    )


def read_stated_fundamentals(body: bytes, stock: Stock) -> StatedFundamentals:
    """Raises ``ParseError`` for what is no such answer, or one about another company."""
    stated, results = read_stated(body, stock, ASKED)
    # Plain first: markup in the middle of an address would hide it.
    text = without_addresses(plain(as_text(stated.get("analysis"))[: 2 * LONGEST_ANALYSIS]))
    ids = as_list(stated.get("analysis_sources"))[:MOST_SOURCES]
    urls = [found.url for index in ids if (found := cited(results, index)) is not None]
    rows = map(as_object, within(MOST_ROWS, as_list(stated.get("metrics")), stock))
    return StatedFundamentals(
        analysis=text if len(text) <= LONGEST_ANALYSIS else text[: LONGEST_ANALYSIS - 1].rstrip() + "…",
        analysis_sources=tuple(dict.fromkeys(urls)),
        metrics=tuple(_row(row, results) for row in rows),
    )


def fundamentals_from_stated(answer: Answer[StatedFundamentals], source: str, stock: Stock) -> FundamentalsData:
    """What can be kept on the day of the answer: an analysis that cites search results, and figures that each cite
    one, are measured as their name wants, are of the last two years and are not absurd.

    ``ParseError(NO_DATA)`` where nothing is left.
    """
    stated, today = answer.value, utc_day(answer.fetched_at)
    read = [(row.name, _metric(row, today, answer, source)) for row in stated.metrics]
    metrics = united((name, metric) for name, metric in read if metric is not None)
    analysis = None
    if stated.analysis and stated.analysis_sources:
        first, *_ = stated.analysis_sources
        origin = answer.provenance(source, Kind.MODEL, url=first)
        analysis = Analysis(text=stated.analysis, sources=stated.analysis_sources, provenance=origin)
    if not metrics and analysis is None:
        raise ParseError(
            f"of {len(stated.metrics)} figures stated of {stock} none cites a search result and can be used, "
            "and no analysis cites one",
            Reason.NO_DATA,
        )
    return FundamentalsData(metrics=metrics, analysis=analysis)


def _row(row: dict[str, Any], results: tuple[SearchResult, ...]) -> StatedMetric:
    name, unit = as_text(row.get("name")), as_text(row.get("unit"))
    measured = METRICS[name].measured if name in METRICS else None
    known = None if measured is None else _unit(measured, unit)
    currency = None if known is None else known.removesuffix("/share")
    match measured:
        case Measured.RATIO:
            value = _ratio(row.get("value"), in_percent=unit.lower() in _PERCENT)
        case Measured.PER_SHARE:
            value = as_per_share(row.get("value"), currency)
        case _:
            value = as_money(row.get("value"), currency)
    return StatedMetric(
        name=name,
        value=value,
        unit=known,
        as_of=as_date(row.get("as_of")),
        source=source_of(row, results),
    )


def _ratio(value: Any, *, in_percent: bool) -> Decimal | None:
    """A fraction. None where it may be one already, though it is said to be in percent."""
    written = value if isinstance(value, str) else ""
    number = as_amount(value)
    if number is None or any(sign.isalpha() or sign in "$€£¥" for sign in written):
        return None
    if not in_percent or "%" in written:
        return number
    return number / 100 if abs(number) > 1 else None


def _unit(measured: Measured, stated: str) -> str | None:
    """The unit as documents write it; None where it is not one of what is measured."""
    match measured:
        case Measured.MONEY:
            return as_currency(stated)
        case Measured.PER_SHARE:
            found = _PER_SHARE.fullmatch(stated)
            currency = as_currency(found[1]) if found else None
            return f"{currency}/share" if currency else None
        case Measured.SHARES:
            return "shares" if stated.lower() in _SHARES else None
        case Measured.RATIO:
            return "ratio" if stated.lower() in _PERCENT | _FRACTION else None


def _metric(row: StatedMetric, today: dt.date, answer: Answer[StatedFundamentals], source: str) -> Metric | None:
    if row.value is None or row.unit is None or row.as_of is None or row.source is None:
        return None
    expected = METRICS[row.name]
    if expected.measured is Measured.MONEY and 0 < abs(row.value) < LEAST_OTHER_AMOUNT:
        return None
    if not expected.least <= row.value <= expected.most or not today - OLDEST <= row.as_of <= today:
        return None
    return Metric(
        value=row.value,
        unit=row.unit,
        as_of=row.as_of,
        provenance=answer.provenance(source, Kind.MODEL, url=row.source.url),
        check="unverified",
    )
