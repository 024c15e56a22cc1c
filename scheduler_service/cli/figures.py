"""Numbers and times as people read them. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, to_datetime, to_iso_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.clock import Instant, Micros

UNKNOWN = "-"

_SCALES = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))
_BARS = "▁▂▃▄▅▆▇█"


def amount(value: Decimal | None) -> str:
    """``391.04 B``: two digits after the point."""
    if value is None:
        return UNKNOWN
    for size, letter in _SCALES:
        if abs(value) >= size:
            return f"{value / size:,.2f} {letter}"
    return f"{value:,.2f}"


def percent(fraction: Decimal | None, *, signed: bool = False, digits: int = 1) -> str:
    """``24.3 %``, or with its sign."""
    if fraction is None:
        return UNKNOWN
    return f"{fraction * 100:{'+' if signed else ''},.{digits}f} %"


def cut(text: str, longest: int) -> str:
    """``A long sent…``."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def growth(now: Decimal | None, before: Decimal | None) -> Decimal | None:
    """By which fraction it grew; None where that means nothing."""
    return None if now is None or before is None or before <= 0 else (now - before) / before


def sparkline(values: Sequence[Decimal | None]) -> str:
    """One bar a value, from the lowest to the highest; zero is the floor where none is below it, ``·`` is unknown."""
    known = [value for value in values if value is not None]
    low, high = min(Decimal(0), *known, Decimal(0)), max(known, default=Decimal(0))
    span = high - low

    def bar(value: Decimal | None) -> str:
        if value is None:
            return "·"
        return _BARS[int((value - low) / span * (len(_BARS) - 1))] if span else _BARS[0]

    return "".join(map(bar, values))


def bars(counts: Sequence[int], most: int | None = None) -> str:
    """One bar a count, full for ``most``, which is the highest of them where it is not given; ``·`` for none."""
    most = max(counts, default=0) if most is None else most
    return "".join(_BARS[-(-count * len(_BARS) // most) - 1] if count else "·" for count in counts)


def ago(at: Instant | None, now: Instant) -> str:
    """``5 min ago``."""
    if at is None:
        return "never"
    if at - now > 10 * SECOND:
        return f"{to_iso_seconds(at)} (a wrong clock)"
    return "just now" if now - at < 10 * SECOND else f"{span(now - at)} ago"


def span(micros: Micros) -> str:
    """``5 min``: in its largest unit, cut."""
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if micros >= size:
            return f"{micros // size} {unit}"
    return f"{micros // SECOND} s"


def local(instant: Instant, timezone: str) -> str:
    """``Mon 23 Nov 2026 09:30:00 EST``."""
    return f"{to_datetime(instant).astimezone(ZoneInfo(timezone)):%a %d %b %Y %H:%M:%S %Z}"


def local_iso(instant: Instant, timezone: str) -> str:
    """``2026-11-23T09:30:00-05:00``."""
    return to_datetime(instant).astimezone(ZoneInfo(timezone)).isoformat()


def several(count: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
