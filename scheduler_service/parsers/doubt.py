"""What speaks against an answer that reads well: it is compared with what the same source said before. Pure.

Each function returns a clause for people, or None where there is nothing to say.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    from scheduler_service.models import Provenance

MANY = 4
"""Of fewer than this, half may be gone for good reasons."""
SEVERAL = 3
MOST_CORRECTED = Decimal("0.2")
"""A figure may move by this fraction without a new filing: what is corrected in passing is not much."""
NAMED = 3
_FILER = re.compile(r"/edgar/data/0*(\d+)/")


def shrank(what: str, before: int, now: int) -> str | None:
    """Nothing where there was something, or at most half of many."""
    if before and not now:
        return f"it holds no {what}, and held {before}"
    return f"it holds {now} {what}, and held {before}" if before >= MANY and now * 2 <= before else None


def grew_old(what: str, before: dt.date | None, now: dt.date | None) -> str | None:
    """What was known up to a day is not known any more."""
    if before is None or now is None or now >= before:
        return None
    return f"its newest {what} is of {now}, and was of {before}"


def altered(figures: Iterable[tuple[str, Decimal | None, Decimal | None]]) -> str | None:
    """``figures`` (name, before, now) behind which there is no filing that was not there before."""
    found = [
        f"{name} is {_plain(now)}, was {_plain(before)}"
        for name, before, now in figures
        if before is not None and now is not None and abs(now - before) > MOST_CORRECTED * abs(before)
    ]
    return f"{_some(found)}, and no new filing says so" if found else None


def zeroed(before: Mapping[str, Decimal | None], now: Mapping[str, Decimal | None]) -> str | None:
    """At least half of the figures that were something are nothing."""
    known = [name for name, value in before.items() if value and now.get(name) is not None]
    gone = [name for name in known if now[name] == 0]
    if len(gone) < SEVERAL or len(gone) * 2 < len(known):
        return None
    return _some([f"{name} is 0, was {_plain(before[name])}" for name in gone])


def of_another(before: Iterable[Provenance], now: Iterable[Provenance]) -> str | None:
    """The filings are another company's."""
    mine, others = _filers(before), _filers(now)
    if not mine or not others or mine & others:
        return None
    return f"its filings are of CIK {', '.join(sorted(others))}, and were of CIK {', '.join(sorted(mine))}"


def together(*clauses: str | None) -> str | None:
    """All that speaks against it."""
    return "; ".join(clause for clause in clauses if clause is not None) or None


def _filers(origins: Iterable[Provenance]) -> set[str]:
    found = (_FILER.search(origin.url) for origin in origins if origin.url is not None)
    return {match[1] for match in found if match is not None}


def _some(clauses: list[str]) -> str:
    more = len(clauses) - NAMED
    return ", ".join(clauses[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _plain(value: Decimal | None) -> str:
    return "unknown" if value is None else f"{value:,f}"
