"""Share splits, told by restated figures per share and counts of shares."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from scheduler_service.parsers.filed_rows import by_period
from scheduler_service.parsers.slips import WRONG_SCALE_FACTOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scheduler_service.parsers.filed_rows import Days, Row

HALF_A_CENT = Decimal("0.005")
_NEW_BASIS_FACTOR = Decimal("1.4")
"""Restated by more than this factor, and by more than a rounding: the shares were split."""
_SMALL_SPLITS = (Decimal(6) / 5, Decimal(5) / 4, Decimal(4) / 3)
"""These are told from other restatements by being exact."""
_AS_EXACT = Decimal("0.02")


def splits(rows: Iterable[Row], half: Decimal) -> Iterator[Days]:
    """Pairs of filings, by date, between which a period was restated for a share split. ``half``: by how much a value
    may be rounded.
    """
    for period in by_period(rows).values():
        for before, after in pairwise(period):
            small, large = sorted((abs(before.value), abs(after.value)))
            if large > small * WRONG_SCALE_FACTOR:
                continue
            if before.value * after.value > 0 and _is_split(small, large, half):
                yield before.filing.filed, after.filing.filed


def newest_basis(seen: Sequence[Days]) -> date:
    """The first filing that counts today's shares. What was filed before must not be mixed with what comes after.

    A split is seen once per period that a later filing repeats, over years; it lies where all those stretches overlap.
    """
    last_old = max((before for before, _ in seen), default=date.min)
    return min((after for _, after in seen if after > last_old), default=date.min)


def _is_split(small: Decimal, large: Decimal, half: Decimal) -> bool:
    if large > small * _NEW_BASIS_FACTOR and large - small > 4 * half:
        return True
    least = (large - half) / (small + half)
    if least > _NEW_BASIS_FACTOR:
        return True
    if small <= half:
        return False
    most = (large + half) / (small - half)
    return most - least <= _AS_EXACT and any(least - _AS_EXACT / 4 <= n <= most + _AS_EXACT / 4 for n in _SMALL_SPLITS)
