"""EDGAR's companyfacts: one figure per tag, period and unit, as often as a filing repeated it.

``{"cik", "entityName", "facts": {taxonomy: {Tag: {"units": {unit: [row]}}}}}`` with a row ``{"start" (durations only),
"end", "val", "accn", "fy", "fp", "form", "filed"}``. ``fy`` and ``fp`` are of the filing, not of the period: facts are
keyed by start and end alone. Values are full units. Only the tags asked for become facts, for a body has up to 4 MB.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.json_values import as_date, as_int, as_number, as_object, as_text
from scheduler_service.parsers.series import Fact, FiledIn, Period, Series, Unread, is_rounding
from scheduler_service.parsers.submissions import as_accession
from scheduler_service.strict_json import members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_ANNUAL_FORMS = frozenset({"10-K", "10-KT", "20-F", "40-F"})
_FISCAL_PERIODS = {"10-K": ("FY",), "20-F": ("FY",), "40-F": ("FY",), "10-Q": ("Q1", "Q2", "Q3")}
"""What a report of this form may call the period it ends with; transition reports have no place in a fiscal year."""
_CURRENCY = re.compile(r"[A-Z]{3}")
_NEW_BASIS_FACTOR = Decimal("1.4")
"""Restated by more than this factor, and by more than a rounding: the shares were split."""
_SMALL_SPLITS = (Decimal(6) / 5, Decimal(5) / 4, Decimal(4) / 3)
"""These are told from other restatements by being exact."""
_AS_EXACT, _HALF_A_CENT = Decimal("0.02"), Decimal("0.005")
_WRONG_SCALE_FACTOR = 500
"""Restated by more than this, shares were counted in thousands before, and earnings are a slip: no split."""
_SLIPS = tuple(
    sign * Decimal(10) ** power for sign in (1, -1) for power in (-6, -3, 0, 3, 6) if (sign, power) != (1, 0)
)
_LATE_FILING = timedelta(days=800)
"""A row whose end cannot be read is of a period that ended within this before it was filed."""
_EVERY_DAY = (date.min, date.max)


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
    amends: bool
    fiscal_year: int | None
    fiscal_period: str


_RowsByUnit: TypeAlias = dict[str, list[_Row]]
_Days: TypeAlias = tuple[date, date]


@dataclass(slots=True)
class _Tag:
    """What a tag's rows say by unit, and the days of which some row cannot be read."""

    units: _RowsByUnit = field(default_factory=dict)
    unread: list[_Days] = field(default_factory=list)


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
    splits = [
        seen
        for c in wanted
        if c.measure is not Measure.MONEY
        for tag in c.tags
        for seen in _splits(tags[tag].units.get(units[c.measure], ()), c.measure)
    ]
    since = _newest_basis(splits)
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
    if not isinstance(units, dict):
        return _Tag(unread=[_EVERY_DAY])
    for unit, raws in units.items():
        if not isinstance(raws, list):
            tag.unread.append(_EVERY_DAY)
            continue
        rows = tag.units[unit] = []
        for raw in map(as_object, raws):
            if (row := _row(raw)) is not None:
                rows.append(row)
            else:
                tag.unread.append(_days_of(raw))
        tag.unread += _of_the_other_kind(rows)
        tag.unread += _contradicted(rows)
    return tag


def _of_the_other_kind(rows: Sequence[_Row]) -> list[_Days]:
    """A tag has periods or instants; a few of the other kind have lost or won a start."""
    flows, instants = ([row for row in rows if (row.start is None) is at_once] for at_once in (False, True))
    return [(row.end, row.end) for row in min(flows, instants, key=len)]


def _contradicted(rows: Sequence[_Row]) -> Iterator[_Days]:
    """A filing may also give a value in round numbers; of two that differ more, nobody can tell which is meant."""
    said: dict[tuple[date | None, date, str], Decimal] = {}
    for row in rows:
        value = said.setdefault((row.start, row.end, row.filing.accession), row.value)
        if value != row.value and not _rounds(*sorted((value, row.value), key=_significant_digits)):
            yield row.end, row.end


def _days_of(raw: Mapping[str, Any]) -> _Days:
    """When the period ends that an unreadable row is about."""
    end, filed = as_date(raw.get("end")), as_date(raw.get("filed"))
    if end is not None:
        return end, end
    return _EVERY_DAY if filed is None else (filed - _LATE_FILING, filed)


def _row(raw: Mapping[str, Any]) -> _Row | None:
    end, filed = as_date(raw.get("end")), as_date(raw.get("filed"))
    value, accession = as_number(raw.get("val")), as_accession(raw.get("accn"))
    start, said = as_date(raw.get("start")), as_text(raw.get("form"))
    form = said.removesuffix("/A")
    if end is None or filed is None or value is None or accession is None or not form:
        return None
    if raw.get("start") is not None and (start is None or start > end):
        return None
    if end > filed:  # a slip of the filer's: nobody reports what is to come
        return None
    year, part = as_int(raw.get("fy")), as_text(raw.get("fp"))
    return _Row(start, end, value, FiledIn(filed, accession), form, said != form, year, part)


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
    rows = [_by_period(tag.units.get(unit, ())) for tag in tags]
    days = [stretch for tag in tags for stretch in tag.unread]
    if measure is not Measure.SHARES:
        slip = _is_slip if measure is Measure.MONEY else _is_slip_per_share
        days += [(period[1], period[1]) for tag in rows for period, filed in tag.items() if _is_contested(filed, slip)]
    for tag in tags:
        days += [(row.end, row.end) for row in _in_no_such_unit(tag.units, unit, measure)]
    facts = [dict(_facts(tag, since)) for tag in rows]
    return Series.of(facts, additive=measure is Measure.MONEY, unread=Unread.of(days))


def _facts(rows: Mapping[Period, Sequence[_Row]], since: date) -> Iterator[tuple[Period, Fact]]:
    for period, filed in rows.items():
        if usable := [row for row in filed if row.filing.filed >= since]:
            yield period, _restated(period, usable)


def _is_contested(rows: Sequence[_Row], is_slip: Callable[[Decimal, Decimal], bool]) -> bool:
    """Whether the newest value is an earlier one with another sign or in thousands of it: no restatement is that.

    One of them is a slip, and the newest stands where most filings carry it, or where it amends one.
    """
    if rows[-1].amends:
        return False
    newest = rows[-1].value
    slips = [row for row in rows if is_slip(row.value, newest)]
    return len(slips) >= sum(is_rounding(row.value, newest) for row in rows) if slips else False


def _is_slip(value: Decimal, other: Decimal) -> bool:
    return bool(value) and any(value * scale == other for scale in _SLIPS)


def _is_slip_per_share(value: Decimal, other: Decimal) -> bool:
    """No split is so large either, and none changes the sign."""
    small, large = sorted((abs(value), abs(other)))
    return value * other < 0 or large > small * _WRONG_SCALE_FACTOR > 0


def _in_no_such_unit(units: _RowsByUnit, unit: str, measure: Measure) -> Iterator[_Row]:
    """Figures of money in a unit that is no currency, say: what they say cannot be read."""
    if unit not in units:
        for other, rows in units.items():
            yield from () if _UNITS[measure].fullmatch(other) else rows


def _by_period(rows: Iterable[_Row]) -> dict[Period, list[_Row]]:
    """Per period, its rows from the oldest filing to the newest, and of one filing the most exact last."""
    periods: dict[Period, list[_Row]] = {}
    for row in sorted(rows, key=lambda r: (r.filing, _significant_digits(r.value))):
        periods.setdefault((row.start, row.end), []).append(row)
    return periods


def _restated(period: Period, rows: Sequence[_Row]) -> Fact:
    """The latest filed value wins, unless it only rounds an earlier one."""
    latest = rows[-1].value
    same = [row.value for row in reversed(rows) if is_rounding(row.value, latest)]
    value = max(same, key=_significant_digits, default=latest)
    filings = tuple(dict.fromkeys(row.filing for row in rows if row.value == value))
    annual = any(row.form in _ANNUAL_FORMS for row in rows)
    return Fact(*period, value, filings, annual=annual, restated=not is_rounding(rows[0].value, latest))


def _rounds(rough: Decimal, exact: Decimal) -> bool:
    """Whether the one is the other, rounded to its last digit that is not zero, or so that hardly anything is lost."""
    last = Decimal(1).scaleb(int(rough.normalize().as_tuple().exponent))
    return is_rounding(rough, exact) or (rough != 0 and abs(rough - exact) * 2 <= last)


def _significant_digits(value: Decimal) -> int:
    return len(value.normalize().as_tuple().digits)


def _splits(rows: Iterable[_Row], measure: Measure) -> Iterator[tuple[date, date]]:
    """Pairs of filings, by date, between which a period was restated for a share split."""
    half = _HALF_A_CENT if measure is Measure.PER_SHARE else Decimal()
    for period in _by_period(rows).values():
        for before, after in pairwise(period):
            small, large = sorted((abs(before.value), abs(after.value)))
            if large > small * _WRONG_SCALE_FACTOR:
                continue
            if before.value * after.value > 0 and _is_split(small, large, half):
                yield before.filing.filed, after.filing.filed


def _is_split(small: Decimal, large: Decimal, half: Decimal) -> bool:
    """``half``: by how much either may be rounded."""
    if large > small * _NEW_BASIS_FACTOR and large - small > 4 * half:
        return True
    least = (large - half) / (small + half)
    if least > _NEW_BASIS_FACTOR:
        return True
    if small <= half:
        return False
    most = (large + half) / (small - half)
    return most - least <= _AS_EXACT and any(least - _AS_EXACT / 4 <= n <= most + _AS_EXACT / 4 for n in _SMALL_SPLITS)


def _newest_basis(splits: Sequence[tuple[date, date]]) -> date:
    """The first filing that counts today's shares. What was filed before must not be mixed with what comes after.

    A split is seen once per period that a later filing repeats, over years; it lies where all those stretches overlap.
    """
    last_old = max((before for before, _ in splits), default=date.min)
    return min((after for _, after in splits if after > last_old), default=date.min)


def _fiscal_periods(rows: Iterable[_Row]) -> dict[date, tuple[int, str]]:
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
