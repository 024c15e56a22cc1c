"""Wall clocks: where the clocks of a zone change, and what they show."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from scheduler_service.clock import DAY, HOUR, SECOND, Instant, Micros, from_datetime, to_datetime

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
END_OF_TIME: Instant = from_datetime(datetime(9998, 1, 1, tzinfo=UTC))
"""Nothing is looked for beyond: a ``datetime`` ends soon after."""
_BY_ABBREVIATION = {
    "America/New_York": ("ET", "EST", "EDT"),
    "America/Chicago": ("CT", "CST", "CDT"),
    "America/Denver": ("MT", "MST", "MDT"),
    "America/Los_Angeles": ("PT", "PST", "PDT"),
    "Europe/London": ("BST",),
    "Europe/Berlin": ("CEST",),
}
_ABBREVIATED = {short: zone for zone, abbreviations in _BY_ABBREVIATION.items() for short in abbreviations}


def _offset(zone: ZoneInfo, instant: Instant) -> Micros:
    return from_datetime(to_datetime(instant).astimezone(zone).replace(tzinfo=UTC)) - instant


@lru_cache(maxsize=4096)
def _offsets_of_year(timezone: str, year: int) -> tuple[tuple[Instant, Micros], ...]:
    """The offsets of a UTC year, each with the instant it begins at."""
    zone = ZoneInfo(timezone)
    start, end = (from_datetime(datetime(y, 1, 1, tzinfo=UTC)) for y in (year, year + 1))
    offset = _offset(zone, start)
    found = [(start, offset)]
    for day in range(start, end, DAY):
        if (new := _offset(zone, day + DAY - SECOND)) != offset:
            low, high = day - SECOND, day + DAY - SECOND
            while high - low > SECOND:
                middle = (low + high) // (2 * SECOND) * SECOND
                low, high = (low, middle) if _offset(zone, middle) == new else (middle, high)
            found.append((high, new))
            offset = new
    return tuple(found)


def constant_offsets(timezone: str, first: Instant, end: Instant) -> Iterator[tuple[Instant, Instant, Micros]]:
    """``[first, end)`` in pieces of one offset each, none longer than a year, so that a near slot costs one year."""
    years = range(to_datetime(first).year, to_datetime(end).year + 1)
    begin, current = first, _offset(ZoneInfo(timezone), first)
    for change, offset in (pair for year in years for pair in _offsets_of_year(timezone, year)):
        if begin < change < end:
            yield begin, change, current
            begin, current = change, offset
    yield begin, end, current


def shown_again(timezone: str, instant: Instant) -> bool:
    """Whether the clocks, which are about to go back, will show the local time of this instant once more."""
    offsets = list(constant_offsets(timezone, instant, instant + 3 * HOUR))
    return len(offsets) > 1 and offsets[1][0] + offsets[1][2] <= instant + offsets[0][2]


def with_summer_time(name: str) -> str | None:
    """The zone that is meant by an abbreviation. Some are zones too, as EST: one offset all year."""
    return _ABBREVIATED.get(name.strip().upper())


def parse_zone(value: object) -> str:
    """The name of a time zone. Raises ``ValueError`` with the nearest one."""
    if isinstance(value, str):
        try:
            return ZoneInfo(value).key
        except (ValueError, LookupError, OSError):
            pass
    zones = sorted(available_timezones())
    known = {zone.rpartition("/")[2].lower(): zone for zone in zones} | {zone.lower(): zone for zone in zones}
    close = get_close_matches(str(value).lower().replace(" ", "_"), known, n=1, cutoff=0.75)
    meant = with_summer_time(str(value)) or (known[close[0]] if close else None)
    hint = f"did you mean {meant}?" if meant else "write one such as America/New_York, Europe/Berlin or UTC"
    raise ValueError(f"timezone: {value!r} is not a known time zone; {hint}")
