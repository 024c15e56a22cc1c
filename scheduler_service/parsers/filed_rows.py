"""Rows of EDGAR's companyfacts: a value that one filing gives for one period. Knows no tag and no unit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from scheduler_service.parsers.json_values import as_date, as_int, as_number, as_text
from scheduler_service.parsers.series import FiledIn
from scheduler_service.parsers.submissions import as_accession

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal

    from scheduler_service.parsers.series import Period

Days: TypeAlias = tuple[date, date]
EVERY_DAY: Days = (date.min, date.max)
_LATE_FILING = timedelta(days=800)
"""A row whose end cannot be read is of a period that ended within this before it was filed."""


@dataclass(frozen=True, slots=True)
class Row:
    """``form`` is without ``/A``, which ``amends`` tells."""

    start: date | None
    end: date
    value: Decimal
    filing: FiledIn
    form: str
    amends: bool
    fiscal_year: int | None
    fiscal_period: str


def read_row(raw: Mapping[str, Any]) -> Row | None:
    """None where something that matters cannot be read."""
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
    return Row(start, end, value, FiledIn(filed, accession), form, said != form, year, part)


def days_of(raw: Mapping[str, Any]) -> Days:
    """When the period ends that an unreadable row is about."""
    end, filed = as_date(raw.get("end")), as_date(raw.get("filed"))
    if end is not None:
        return end, end
    return EVERY_DAY if filed is None else (filed - _LATE_FILING, filed)


def of_the_other_kind(rows: Sequence[Row]) -> list[Days]:
    """A tag has periods or instants; a few of the other kind have lost or won a start."""
    flows, instants = ([row for row in rows if (row.start is None) is at_once] for at_once in (False, True))
    return [(row.end, row.end) for row in min(flows, instants, key=len)]


def by_period(rows: Iterable[Row]) -> dict[Period, list[Row]]:
    """Per period, its rows from the oldest filing to the newest, and of one filing the most exact last."""
    periods: dict[Period, list[Row]] = {}
    for row in sorted(rows, key=lambda r: (r.filing, significant_digits(r.value))):
        periods.setdefault((row.start, row.end), []).append(row)
    return periods


def significant_digits(value: Decimal) -> int:
    """Zeros at the end not counted."""
    return len(value.normalize().as_tuple().digits)
