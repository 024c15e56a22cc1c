"""Dates in feeds to instants: RFC 822 and ISO 8601, read strictly. What is not sure to the hour is not known.

``feedparser`` reads more, and some of it wrong: BST and CEST as UTC, 1 PM as 1 AM, 31 February as 3 March, a week's
number as today.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from scheduler_service.clock import from_datetime

if TYPE_CHECKING:
    from scheduler_service.clock import Instant

_NAMES = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTHS = {short: number for number, name in enumerate(_NAMES, start=1) for short in (name, name[:3], name[:4])}
_ZONES = {
    name: minutes
    for minutes, names in {
        -480: "PST", -420: "PDT MST", -360: "MDT CST", -300: "CDT EST", -240: "EDT",
        0: "Z UT UTC GMT WET", 60: "BST CET WEST", 120: "CEST EET", 180: "EEST MSK",
        480: "HKT SGT AWST", 540: "JST KST", 600: "AEST", 660: "AEDT", 720: "NZST", 780: "NZDT",
    }.items()
    for name in names.split()
}  # fmt: skip
"""Minutes east of Greenwich. RFC 822 names those of America; the others mean one zone in practice, which IST does not:
India, Ireland and Israel use it.
"""
_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,]\d{1,9})?)?(?:\s?(?P<half>[AP])\.?M\.?)?"
_ZONE = r"(?P<zone>(?:GMT|UTC)?[+-]\d{1,2}(?::?\d\d)?|[A-Z]{1,4})(?:\s*\([^()]*\))?"
_MONTH = r"(?P<month>[A-Z]{3,9})\.?"
_WEEKDAY = r"(?:[A-Z]{3,9}(?:\.?,\s*|\.?\s+))?"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})[\s-]{_MONTH}[\s-](?P<year>\d{{4}}|\d\d)(?:,?\s+{_TIME}\s*{_ZONE})?",
        rf"{_WEEKDAY}{_MONTH}\s(?P<day>\d{{1,2}}),?\s(?P<year>\d{{4}})(?:,?\s+(?:at\s)?{_TIME}\s*{_ZONE})?",
        rf"(?P<year>\d{{4}})(?P<dash>[-/])(?P<month>\d\d)(?P=dash)(?P<day>\d\d)(?:(?:T|\s+){_TIME}\s*{_ZONE})?",
        r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
        r"(?:T?(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?P<zone>Z|[+-]\d\d:?\d\d))?",
        rf"[A-Z]{{3}},?\s+{_MONTH}\s+(?P<day>\d{{1,2}})\s+{_TIME}\s+{_ZONE}\s+(?P<year>\d{{4}})",
    )
)


LEAP_SECOND = 60


def read_date(text: str) -> Instant | None:
    """None where the date is impossible, its zone unknown, or its form no date's. A bare date is its midnight."""
    said = " ".join(text[:100].split())
    for form in _FORMS:
        match = form.fullmatch(said)
        if match is not None:
            return _instant({name: value or "" for name, value in match.groupdict().items()})
    return None


def _instant(told: dict[str, str]) -> Instant | None:
    month = _MONTHS.get(told["month"].lower()) or (int(told["month"]) if told["month"].isdigit() else 0)
    offset = _offset(told["zone"]) if told["hour"] else 0
    hour = _hour(told)
    year = int(told["year"]) + (0 if len(told["year"]) == 4 else 2000)
    second = int(told["second"] or 0)
    if offset is None or hour is None or second > LEAP_SECOND:
        return None
    try:
        local = dt.datetime(year, month, int(told["day"]), hour, int(told["minute"] or 0), tzinfo=dt.UTC)
        return from_datetime(local - dt.timedelta(minutes=offset) + dt.timedelta(seconds=second))
    except (ValueError, OverflowError):
        return None


def _hour(told: dict[str, str]) -> int | None:
    hour = int(told["hour"] or 0)
    if not told.get("half"):
        return hour
    return hour % 12 + (12 if told["half"] in "pP" else 0) if 1 <= hour <= 12 else None


def _offset(zone: str) -> int | None:
    """Minutes east of Greenwich: of a name, ``+0530``, ``-05:00``, ``GMT+2``."""
    if (known := _ZONES.get(zone.upper())) is not None:
        return known
    match = re.fullmatch(r"(?:GMT|UTC)?([+-])(\d{1,2}):?(\d\d)?", zone, re.IGNORECASE)
    if match is None or int(match[2]) > 14 or int(match[3] or 0) > 59:
        return None
    return (int(match[2]) * 60 + int(match[3] or 0)) * (-1 if match[1] == "-" else 1)
