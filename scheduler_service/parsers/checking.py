"""What a model states beside what a filing says of the same period: verified, conflicting or unverified. Knows no
domain.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from scheduler_service.models import Check

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler_service.models import Provenance

SAME_END = dt.timedelta(days=16)
"""Of a fiscal period and the calendar's, which a model may name instead: 27 September and the 30th."""
_HALF = Decimal("0.5")
_FEWEST_DIGITS = 2
"""A figure of one digit says nothing: 100 billion is taken for 1.0 times ten to the eleventh."""
_CLOSEST = Decimal("0.01")
"""Rounding may move a figure by this share of it at most."""
_MILLION = 6
"""Filings are in millions, or finer."""
_HALF_A_POINT = Decimal("0.005")
_HALF_A_CENT = Decimal("0.005")
_DERIVED_PER_SHARE = Decimal("0.02")
"""Earnings per share that were derived add up shares counted at different times: a cent or two are no error."""
_SCALES = {2: "hundred", 3: "thousand", 6: "million", 9: "billion"}
"""Powers of ten by which figures are off that were counted in something else: percent, pence, thousands..."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One figure as a source gives it, of the ``period`` (quarter, year, or a metric's) that ends on ``end``."""

    figure: str
    period: str
    end: dt.date
    value: Decimal
    unit: str
    origin: Provenance
    derived: bool = False


def checked(source: str, stated: Iterable[Claim], filed: Iterable[Claim]) -> tuple[Check, ...]:
    """One check for each figure that ``source`` stated. Unverified is what no filing covers: of another period, or in
    another unit or currency.
    """
    known = list(filed)
    return tuple(_check(source, claim, _counterpart(claim, known)) for claim in stated)


def all_checks(found: Iterable[Check]) -> tuple[Check, ...]:
    """In one order whatever they came in, newest first; of two of the same figure the first."""
    by_figure: dict[tuple[str, ...], Check] = {}
    for check in found:
        by_figure.setdefault((check.source, check.period, check.period_end.isoformat(), check.figure), check)
    return tuple(sorted(by_figure.values(), key=lambda c: (-c.period_end.toordinal(), c.period, c.figure, c.source)))


def shares(checks: Iterable[Check]) -> dict[str, Counter[str]]:
    """By source, how many of its figures are of each verdict."""
    found: dict[str, Counter[str]] = {}
    for check in checks:
        found.setdefault(check.source, Counter())[check.verdict] += 1
    return found


def agrees(stated: Decimal, filed: Decimal, unit: str, *, derived: bool = False) -> bool:
    """Whether the one is the other, but for rounding: to the digits that are stated, two at least, or to those of the
    filing; and never further off than one hundredth, half a percentage point, or half a cent a share.
    """
    apart = abs(stated - filed)
    if not apart:
        return True
    if unit.endswith("/share"):
        least = _DERIVED_PER_SHARE if derived else _HALF_A_CENT
    else:
        least = _HALF_A_POINT if unit == "ratio" else Decimal(0)
    if stated * filed < 0 and unit != "ratio" and not unit.endswith("/share"):
        return False
    finest = max(_half_a_digit(stated), min(_half_a_digit(filed), _HALF.scaleb(_MILLION)))
    if unit.endswith("/share") and derived:
        finest = max(finest, _DERIVED_PER_SHARE)
    return apart <= min(finest, max(least, _CLOSEST * abs(filed)))


def scale_note(stated: Decimal, filed: Decimal, unit: str, *, derived: bool = False) -> str | None:
    """What is to be said of a figure that is off by its unit alone."""
    for power, name in _SCALES.items():
        if agrees(stated.scaleb(power), filed, unit, derived=derived):
            return f"a {name}th of the filing's: counted in {name}s?"
        if agrees(stated.scaleb(-power), filed, unit, derived=derived):
            return f"a {name} times the filing's: another unit?"
    return None


def _half_a_digit(value: Decimal) -> Decimal:
    """Half a unit of the last digit that is not zero, or of the second."""
    if not value:
        return Decimal(0)
    exact = value.normalize()
    last = min(int(exact.as_tuple().exponent), exact.adjusted() - _FEWEST_DIGITS + 1)
    return _HALF.scaleb(last)


def _counterpart(claim: Claim, filed: Iterable[Claim]) -> Claim | None:
    alike = [
        one
        for one in filed
        if (one.figure, one.period, one.unit) == (claim.figure, claim.period, claim.unit)
        and abs(one.end - claim.end) <= SAME_END
    ]
    return min(alike, key=lambda one: (abs(one.end - claim.end), one.end), default=None)


def _check(source: str, claim: Claim, filed: Claim | None) -> Check:
    verdict, note = "unverified", None
    if filed is not None:
        agreed = agrees(claim.value, filed.value, claim.unit, derived=filed.derived)
        verdict = "verified" if agreed else "conflicting"
        note = None if agreed else scale_note(claim.value, filed.value, claim.unit, derived=filed.derived)
    return Check.model_validate(
        {
            "source": source,
            "figure": claim.figure,
            "period": claim.period,
            "period_end": claim.end,
            "unit": claim.unit,
            "stated": claim.value,
            "filed": None if filed is None else filed.value,
            "difference": None if filed is None else claim.value - filed.value,
            "verdict": verdict,
            "note": note,
            "provenance": claim.origin,
            "filing": None if filed is None else filed.origin,
        }
    )
