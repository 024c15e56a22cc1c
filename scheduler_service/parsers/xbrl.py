"""EDGAR's companyfacts: one figure per tag, period and unit, as often as a filing repeated it.

``{"cik", "entityName", "facts": {taxonomy: {Tag: {"units": {unit: [row]}}}}}`` with a row ``{"start" (durations only),
"end", "val", "accn", "fy", "fp", "form", "filed"}``. ``fy`` and ``fp`` are of the filing, not of the period: facts are
keyed by start and end alone. Values are full units. Only the tags asked for become facts, for a body has up to 4 MB.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.json_values import as_date, as_int, as_list, as_number, as_object, as_text
from scheduler_service.parsers.series import Fact, FiledIn, Period, Series
from scheduler_service.parsers.submissions import as_accession
from scheduler_service.strict_json import members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_ANNUAL_FORMS = frozenset({"10-K", "10-KT", "20-F", "40-F"})
_FISCAL_PERIODS = {"10-K": ("FY",), "20-F": ("FY",), "40-F": ("FY",), "10-Q": ("Q1", "Q2", "Q3")}
"""What a report of this form may call the period it ends with; transition reports have no place in a fiscal year."""
_CURRENCY = re.compile(r"[A-Z]{3}")
_ROUNDING = 1_000
"""A later value within a thousandth of an earlier one, and with fewer digits, only rounds it."""
_NEW_BASIS_FACTOR = Decimal("1.4")
_NEW_BASIS_LEAST_PER_SHARE = Decimal("0.02")
"""Restated by more than this factor, and by more than a rounding: the shares were split."""


class Measure(StrEnum):
    """What a figure is counted in."""

    MONEY = "money"
    PER_SHARE = "per_share"
    SHARES = "shares"


@dataclass(frozen=True, slots=True)
class Concept:
    """One figure and the tags (``taxonomy:Tag``) it is filed under; of two equally current ones the earlier wins."""

    tags: tuple[str, ...]
    measure: Measure = Measure.MONEY


@dataclass(frozen=True, slots=True)
class _Row:
    start: date | None
    end: date
    value: Decimal
    filing: FiledIn
    form: str
    fiscal_year: int | None
    fiscal_period: str


_RowsByUnit: TypeAlias = dict[str, list[_Row]]


@dataclass(frozen=True, slots=True)
class CompanyFacts:
    """A company's figures, in the currency it reports in."""

    cik: int
    name: str
    currency: str
    series: Mapping[Concept, Series]
    fiscal: Mapping[date, tuple[int, str]]
    """End of a period to the fiscal year and period (``FY``, ``Q1``...) of the filing whose newest period it was."""

    def __getitem__(self, concept: Concept) -> Series:
        return self.series[concept]


def parse_company_facts(body: bytes, concepts: Iterable[Concept]) -> CompanyFacts:
    """The wanted figures. ``ParseError``: ``UNREADABLE``, or ``NO_DATA`` where none of them is there."""
    wanted = tuple(concepts)
    rows: dict[str, _RowsByUnit] = {tag: {} for concept in wanted for tag in concept.tags}
    said: dict[str, Any] = {}
    for keys, value in members(body, levels=3, wanted=lambda keys: len(keys) == 1 or _tag(keys) in rows):
        if len(keys) == 1:
            said[keys[0]] = value
        else:
            rows[_tag(keys)] = _read_tag(value)
    cik = as_int(said.get("cik"))
    if not cik or not isinstance(said.get("facts", {}), dict):
        raise ParseError("the companyfacts have no cik or no facts", Reason.UNREADABLE)
    currency = _reporting_currency([rows[tag] for c in wanted if c.measure is Measure.MONEY for tag in c.tags])
    name = as_text(said.get("entityName"))
    if currency is None:
        raise ParseError(f"the companyfacts of CIK {cik} ({name}) hold none of the figures looked for", Reason.NO_DATA)
    units = {Measure.MONEY: currency, Measure.PER_SHARE: f"{currency}/shares", Measure.SHARES: "shares"}
    series = {c: _series(c, [rows[tag].get(units[c.measure], []) for tag in c.tags]) for c in wanted}
    money = (row for c in wanted if c.measure is Measure.MONEY for tag in c.tags for row in rows[tag].get(currency, ()))
    return CompanyFacts(cik, name, currency, series, _fiscal_periods(money))


def _tag(keys: Sequence[str]) -> str:
    return ":".join(keys[1:]) if keys[0] == "facts" else ""


def _read_tag(value: Any) -> _RowsByUnit:
    units = as_object(as_object(value).get("units"))
    return {
        unit: [row for raw in as_list(raws) if (row := _row(as_object(raw))) is not None]
        for unit, raws in units.items()
    }


def _row(raw: Mapping[str, Any]) -> _Row | None:
    end, filed = as_date(raw.get("end")), as_date(raw.get("filed"))
    value, accession = as_number(raw.get("val")), as_accession(raw.get("accn"))
    start = as_date(raw.get("start"))
    if end is None or filed is None or value is None or accession is None:
        return None
    if raw.get("start") is not None and (start is None or start > end):
        return None
    form, year = as_text(raw.get("form")).removesuffix("/A"), as_int(raw.get("fy"))
    return _Row(start, end, value, FiledIn(filed, accession), form, year, as_text(raw.get("fp")))


def _reporting_currency(tags: Sequence[_RowsByUnit]) -> str | None:
    """The currency of the newest figures; where a filing adds a translation of them, the one with more figures."""
    counts: Counter[str] = Counter()
    newest: dict[str, date] = {}
    for units in tags:
        for unit, rows in units.items():
            if rows and _CURRENCY.fullmatch(unit):
                counts[unit] += len(rows)
                end = max(row.end for row in rows)
                newest[unit] = max(end, newest.get(unit, end))
    return max(newest, key=lambda unit: (newest[unit], counts[unit], unit), default=None)


def _series(concept: Concept, tags: Sequence[Sequence[_Row]]) -> Series:
    if concept.measure is Measure.MONEY:
        return Series.of([_facts(rows) for rows in tags], additive=True)
    since = _newest_basis([seen for rows in tags for seen in _splits(rows, concept.measure)])
    return Series.of([_facts(row for row in rows if row.filing.filed >= since) for rows in tags], additive=False)


def _facts(rows: Iterable[_Row]) -> dict[Period, Fact]:
    return {period: _restated(period, filed) for period, filed in _by_period(rows).items()}


def _by_period(rows: Iterable[_Row]) -> dict[Period, list[_Row]]:
    """Per period, its rows from the oldest filing to the newest."""
    periods: dict[Period, list[_Row]] = {}
    for row in sorted(rows, key=lambda r: r.filing):
        periods.setdefault((row.start, row.end), []).append(row)
    return periods


def _restated(period: Period, rows: Sequence[_Row]) -> Fact:
    """The latest filed value wins, unless it only rounds an earlier one."""
    latest = rows[-1].value
    same = [row.value for row in reversed(rows) if abs(row.value - latest) * _ROUNDING < abs(latest)]
    value = max(same, key=_significant_digits, default=latest)
    filings = tuple(dict.fromkeys(row.filing for row in rows if row.value == value))
    return Fact(*period, value, filings, annual=any(row.form in _ANNUAL_FORMS for row in rows))


def _significant_digits(value: Decimal) -> int:
    return len(value.normalize().as_tuple().digits)


def _splits(rows: Iterable[_Row], measure: Measure) -> Iterator[tuple[date, date]]:
    """Pairs of filings, by date, between which a period was restated for a share split."""
    least = _NEW_BASIS_LEAST_PER_SHARE if measure is Measure.PER_SHARE else Decimal()
    for period in _by_period(rows).values():
        for before, after in pairwise(period):
            small, large = sorted((abs(before.value), abs(after.value)))
            if before.value * after.value > 0 and large > small * _NEW_BASIS_FACTOR and large - small > least:
                yield before.filing.filed, after.filing.filed


def _newest_basis(splits: Sequence[tuple[date, date]]) -> date:
    """The first filing that counts today's shares. What was filed before must not be mixed with what comes after.

    A split is seen once per period that a later filing repeats, over years; it lies where all those stretches overlap.
    """
    last_old = max((before for before, _ in splits), default=date.min)
    return min((after for _, after in splits if after > last_old), default=date.min)


def _fiscal_periods(rows: Iterable[_Row]) -> dict[date, tuple[int, str]]:
    """Which fiscal period ends when, told by the filing that reported it first."""
    newest: dict[FiledIn, _Row] = {}
    for row in rows:
        # A filer's slip (a 10-Q that calls itself the year) gives no label rather than a wrong one.
        if row.start is not None and row.fiscal_year and row.fiscal_period in _FISCAL_PERIODS.get(row.form, ()):
            known = newest.get(row.filing)
            if known is None or row.end > known.end:
                newest[row.filing] = row
    fiscal: dict[date, tuple[int, str]] = {}
    for _, row in sorted(newest.items(), key=lambda item: item[0]):
        fiscal.setdefault(row.end, (row.fiscal_year or 0, row.fiscal_period))
    return fiscal
