"""Slips of filers: values of one period of which nobody can tell which is meant."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from scheduler_service.parsers.filed_rows import significant_digits
from scheduler_service.parsers.series import is_rounding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date

    from scheduler_service.parsers.filed_rows import Row
    from scheduler_service.parsers.series import Period

WRONG_SCALE_FACTOR = 500
"""Restated by more than this, shares were counted in thousands before, and earnings are a slip: no split."""
_SLIPS = tuple(
    sign * Decimal(10) ** power for sign in (1, -1) for power in (-6, -3, 0, 3, 6) if (sign, power) != (1, 0)
)


def contradicted(rows: Sequence[Row]) -> Iterator[Period]:
    """A filing may also give a value in round numbers; of two that differ more, nobody can tell which is meant."""
    said: dict[tuple[date | None, date, str], Decimal] = {}
    for row in rows:
        value = said.setdefault((row.start, row.end, row.filing.accession), row.value)
        if value != row.value and not _rounds(*sorted((value, row.value), key=significant_digits)):
            yield row.start, row.end


def is_contested(rows: Sequence[Row], is_slip: Callable[[Decimal, Decimal], bool]) -> bool:
    """Whether the newest value is an earlier one with another sign or in thousands of it: no restatement is that.

    One of them is a slip, and the newest stands where most filings carry it, or where it amends one.
    """
    if rows[-1].amends:
        return False
    newest = rows[-1].value
    slips = [row for row in rows if is_slip(row.value, newest)]
    return len(slips) >= sum(is_rounding(row.value, newest) for row in rows) if slips else False


def is_slip(value: Decimal, other: Decimal) -> bool:
    """Of money."""
    return bool(value) and any(value * scale == other for scale in _SLIPS)


def is_slip_per_share(value: Decimal, other: Decimal) -> bool:
    """No split is so large either, and none changes the sign."""
    small, large = sorted((abs(value), abs(other)))
    return value * other < 0 or large > small * WRONG_SCALE_FACTOR > 0


def _rounds(rough: Decimal, exact: Decimal) -> bool:
    """Whether the one is the other, rounded to its last digit that is not zero, or so that hardly anything is lost."""
    last = Decimal(1).scaleb(int(rough.normalize().as_tuple().exponent))
    return is_rounding(rough, exact) or (rough != 0 and abs(rough - exact) * 2 <= last)
