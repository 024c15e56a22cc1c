"""Whether figures that somebody states can be true together. Knows no domain.

No figure of a model says in which unit it was meant: one row may be in thousands, another's earnings per share in cents
or per depositary share. Where two figures cannot both be right nobody knows which is wrong, so both are doubted.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from scheduler_service.parsers.checking import agrees

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_APART = Decimal(30)
"""Of the same figure in two periods of one company. A thousandth is found out even where the true ones are as far
apart; a company whose sales do change like that is known by its filings.
"""
MOST_LOST = Decimal(2)
"""Net income in revenues. A company may lose more than that, but so it seems where revenue was given in thousands."""
LEAST_KEPT = Decimal("0.001")
"""Of revenue. Less is not unheard of, but so it seems where net income was given in thousands."""
OTHER_SHARES = Decimal("1.8")
"""By which factor the number of shares changes within two years: by more only in a split, and then earnings per share
are stated on two bases.
"""
_TELLING_DIGITS = 4
"""Two periods may both bring in 3.4 billion, but not both 3,412 million."""
_HALF_A_CENT = Decimal("0.005")


def agreed(values: Iterable[Decimal], unit: str) -> Decimal | None:
    """What several statements of one figure come to: the most precise where the others round it; None where they
    contradict it, or where there are none.
    """
    stated = sorted(set(values), key=lambda value: (_last_digit(value), value))
    if not stated:
        return None
    exact, *others = stated
    return exact if all(agrees(other, exact, unit) for other in others) else None


def far_apart(values: Iterable[Decimal], most: Decimal = MOST_APART) -> bool:
    """Whether some amount is more than so many times another; nothing is not compared."""
    sizes = [abs(value) for value in values if value]
    return bool(sizes) and max(sizes) > most * min(sizes)


def keeps_too_much_or_little(revenue: Decimal, net_income: Decimal) -> bool:
    """Whether revenue and net income seem to be in different units."""
    return not LEAST_KEPT * revenue <= abs(net_income) <= MOST_LOST * revenue


def of_different_shares(earnings: Iterable[tuple[Decimal, Decimal]]) -> bool:
    """``earnings`` in whole and per share, of several periods: whether they cannot be of about as many shares.

    Earnings per share are known to half a cent, so that each pair allows a range of counts.
    """
    pairs = [(abs(whole), abs(per_share)) for whole, per_share in earnings]
    fewest = [whole / (per_share + _HALF_A_CENT) for whole, per_share in pairs]
    most = [whole / (per_share - _HALF_A_CENT) for whole, per_share in pairs if per_share > _HALF_A_CENT]
    return bool(fewest) and bool(most) and max(fewest) > OTHER_SHARES * min(most)


def is_told_of_two(value: Decimal, others: Iterable[Decimal]) -> bool:
    """Whether the very same amount is among those of other periods: too exact to be there by chance."""
    return len(value.normalize().as_tuple().digits) >= _TELLING_DIGITS and value in others


def in_words(doubted: int, stated: int) -> str | None:
    """What a person should know of an answer; None where nothing is doubted."""
    if not doubted:
        return None
    return f"{doubted} of {stated} stated figures are not believed: they cannot be true together, or in one unit"


def _last_digit(value: Decimal) -> int:
    return int(value.normalize().as_tuple().exponent)
