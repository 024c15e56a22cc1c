"""EDGAR's companyfacts: one figure per tag, period and unit, as often as a filing repeated it.

``{"cik", "entityName", "facts": {taxonomy: {Tag: {"units": {unit: [row]}}}}}`` with a row ``{"start" (durations only),
"end", "val", "accn", "fy", "fp", "form", "filed"}``. ``fy`` and ``fp`` are of the filing, not of the period: facts are
keyed by start and end alone. Values are full units. Only the tags asked for become facts, for a body has up to 4 MB.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.filed_rows import (
    EVERY_DAY,
    by_period,
    days_of,
    of_the_other_kind,
    read_row,
    significant_digits,
)
from scheduler_service.parsers.json_values import as_int, as_object, as_text
from scheduler_service.parsers.series import Fact, Series, Unread, is_rounding
from scheduler_service.parsers.share_splits import HALF_A_CENT, newest_basis, splits
from scheduler_service.parsers.slips import contradicted, is_contested, is_slip, is_slip_per_share
from scheduler_service.strict_json import members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from scheduler_service.parsers.filed_rows import Days, Row
    from scheduler_service.parsers.series import FiledIn, Period

MOST_ROWS = 3_000
"""Of one tag, which is not read where it has more: in fifteen years a company files a few hundred."""

_ANNUAL_FORMS = frozenset({"10-K", "10-KT", "20-F", "40-F"})
_FISCAL_PERIODS = {"10-K": ("FY",), "20-F": ("FY",), "40-F": ("FY",), "10-Q": ("Q1", "Q2", "Q3")}
"""What a report of this form may call the period it ends with; transition reports have no place in a fiscal year."""
_CURRENCY = re.compile(r"[A-Z]{3}")


class Measure(StrEnum):
    """What a figure is counted in."""

    MONEY = "money"
    PER_SHARE = "per_share"
    SHARES = "shares"


_UNITS = {
    Measure.MONEY: _CURRENCY,
    Measure.PER_SHARE: re.compile(r"[A-Z]{3}/shares"),
    Measure.SHARES: re.compile(r"shares"),
}
_HALF = {Measure.PER_SHARE: HALF_A_CENT, Measure.SHARES: Decimal()}


@dataclass(frozen=True, slots=True)
class Concept:
    """One figure and the tags (``taxonomy:Tag``) it is filed under; of two equally current ones the earlier wins."""

    tags: tuple[str, ...]
    measure: Measure = Measure.MONEY


_RowsByUnit: TypeAlias = "dict[str, list[Row]]"


@dataclass(slots=True)
class _Tag:
    """What a tag's rows say by unit, the days of which some row cannot be read, and the periods told in two ways."""

    units: _RowsByUnit = field(default_factory=dict)
    unread: list[Days] = field(default_factory=list)
    contested: set[Period] = field(default_factory=set)


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
    wanted = tuple(dict.fromkeys(concepts))
    tags: dict[str, _Tag] = {tag: _Tag() for concept in wanted for tag in concept.tags}
    said: dict[str, Any] = {}
    for keys, value in members(body, levels=3, wanted=lambda keys: len(keys) == 1 or _tag(keys) in tags):
        if len(keys) == 1:
            said[keys[0]] = value
        else:
            tags[_tag(keys)] = _read_tag(value)
    cik = as_int(said.get("cik"))
    if not cik or not isinstance(said.get("facts", {}), dict):
        raise ParseError("the companyfacts have no cik or no facts", Reason.UNREADABLE)
    money_tags = [tags[tag].units for c in wanted if c.measure is Measure.MONEY for tag in c.tags]
    currency = _reporting_currency(money_tags)
    name = as_text(said.get("entityName"))
    if currency is None:
        raise ParseError(f"the companyfacts of CIK {cik} ({name}) hold none of the figures looked for", Reason.NO_DATA)
    units = {Measure.MONEY: currency, Measure.PER_SHARE: f"{currency}/shares", Measure.SHARES: "shares"}
    seen = [
        days
        for c in wanted
        if c.measure is not Measure.MONEY
        for tag in c.tags
        for days in splits(tags[tag].units.get(units[c.measure], ()), _HALF[c.measure])
    ]
    since = newest_basis(seen)
    series = {
        c: _series(
            [tags[tag] for tag in c.tags],
            c.measure,
            units[c.measure],
            date.min if c.measure is Measure.MONEY else since,
        )
        for c in wanted
    }
    money = (row for rows in money_tags for row in rows.get(currency, ()))
    return CompanyFacts(cik, name, currency, series, _fiscal_periods(money))


def _tag(keys: Sequence[str]) -> str:
    return ":".join(keys[1:]) if keys[0] == "facts" else ""


def _read_tag(value: Any) -> _Tag:
    """What cannot be read is not left out silently: an older value, or another tag's, would pass for what it says."""
    tag, units = _Tag(), as_object(value).get("units")
    if not isinstance(units, dict) or sum(len(raws) for raws in units.values() if isinstance(raws, list)) > MOST_ROWS:
        return _Tag(unread=[EVERY_DAY])
    for unit, raws in units.items():
        if not isinstance(raws, list):
            tag.unread.append(EVERY_DAY)
            continue
        rows = tag.units[unit] = []
        for raw in map(as_object, raws):
            if (row := read_row(raw)) is not None:
                rows.append(row)
            else:
                tag.unread.append(days_of(raw))
        tag.unread += of_the_other_kind(rows)
        tag.contested.update(contradicted(rows))
    return tag


def _reporting_currency(tags: Sequence[_RowsByUnit]) -> str | None:
    """The currency of the newest figures; where a filing adds a translation of them, the one with more figures.

    Flows decide where there are any: of a balance, one loan in dollars says nothing about the books.
    """
    counts: Counter[str] = Counter()
    newest: dict[str, tuple[bool, date]] = {}
    for units in tags:
        for unit, rows in units.items():
            if rows and _CURRENCY.fullmatch(unit):
                counts[unit] += len(rows)
                seen = max((row.start is not None, row.end) for row in rows)
                newest[unit] = max(seen, newest.get(unit, seen))
    return max(newest, key=lambda unit: (newest[unit], counts[unit], unit), default=None)


def _series(tags: Sequence[_Tag], measure: Measure, unit: str, since: date) -> Series:
    rows = [by_period(tag.units.get(unit, ())) for tag in tags]
    days = [stretch for tag in tags for stretch in tag.unread]
    for tag in tags:
        days += [(row.end, row.end) for row in _in_no_such_unit(tag.units, unit, measure)]
    contested = [tag.contested for tag in tags]
    if measure is not Measure.SHARES:
        slip = is_slip if measure is Measure.MONEY else is_slip_per_share
        slips = ({period for period, filed in tag.items() if is_contested(filed, slip)} for tag in rows)
        contested = [said | slipped for said, slipped in zip(contested, slips, strict=True)]
    facts = [dict(_facts(tag, since)) for tag in rows]
    return Series.of(facts, additive=measure is Measure.MONEY, unread=Unread.of(days), contested=contested)


def _facts(rows: Mapping[Period, Sequence[Row]], since: date) -> Iterator[tuple[Period, Fact]]:
    for period, filed in rows.items():
        if usable := [row for row in filed if row.filing.filed >= since]:
            yield period, _restated(period, usable)


def _in_no_such_unit(units: _RowsByUnit, unit: str, measure: Measure) -> Iterator[Row]:
    """Figures of money in a unit that is no currency, say: what they say cannot be read."""
    if unit not in units:
        for other, rows in units.items():
            yield from () if _UNITS[measure].fullmatch(other) else rows


def _restated(period: Period, rows: Sequence[Row]) -> Fact:
    """The latest filed value wins, unless it only rounds an earlier one."""
    latest = rows[-1].value
    same = [row.value for row in reversed(rows) if is_rounding(row.value, latest)]
    value = max(same, key=significant_digits, default=latest)
    filings = tuple(dict.fromkeys(row.filing for row in rows if row.value == value))
    annual = any(row.form in _ANNUAL_FORMS for row in rows)
    return Fact(*period, value, filings, annual=annual, restated=not is_rounding(rows[0].value, latest))


def _fiscal_periods(rows: Iterable[Row]) -> dict[date, tuple[int, str]]:
    """Which fiscal period ends when, told by the filing that reported it first."""
    said: dict[FiledIn, dict[date, set[tuple[int, str]]]] = {}
    for row in rows:
        # A filer's slip (a 10-Q that calls itself the year) gives no label rather than a wrong one.
        if row.start is not None and row.fiscal_year and row.fiscal_period in _FISCAL_PERIODS.get(row.form, ()):
            of_filing = said.setdefault(row.filing, {})
            of_filing.setdefault(row.end, set()).add((row.fiscal_year, row.fiscal_period))
    fiscal: dict[date, tuple[int, str]] = {}
    for _, labels in sorted(said.items(), key=lambda item: item[0]):
        end = max(labels)
        if len(labels[end]) == 1:
            fiscal.setdefault(end, *labels[end])
    return fiscal
