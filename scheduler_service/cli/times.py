"""Instants as a person types them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from scheduler_service.cli.terminal import line
from scheduler_service.clock import from_datetime, to_datetime
from scheduler_service.local_time import constant_offsets

if TYPE_CHECKING:
    from scheduler_service.clock import Instant

_YEARS = range(1970, 9000)
_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"\d{1,2}:\d{2}(:\d{2}(\.\d{1,6})?)?"
_OFFSET = r"([Zz]|[+-]\d{2}:?\d{2})"
_FORM = re.compile(rf"(?P<date>{_DATE})?([Tt ]?(?P<time>{_TIME})(?P<offset>{_OFFSET})?)?")


def read_time(text: str, timezone: str, now: Instant) -> Instant:
    """``now``, a date, a time of today, or both; without an offset by the clocks of ``timezone``.

    Raises ``click.UsageError``. What the clocks skip or show twice is settled, and told on standard error.
    """
    if text.strip().lower() == "now":
        return now
    form = _FORM.fullmatch(text.strip())
    if form is None or not (form["date"] or (form["time"] and not form["offset"])):
        raise click.UsageError(
            f"--at {text!r} is not understood; write a time such as 2027-01-04T09:00:00Z, or, by the clocks of "
            f"{timezone}, 2027-01-04T09:00, 2027-01-04 or 09:00; or now"
        )
    try:
        today = to_datetime(now).astimezone(ZoneInfo(timezone)).date()
        day = date.fromisoformat(form["date"]) if form["date"] else today
        clock = time.fromisoformat(form["time"].zfill(len("00:00"))) if form["time"] else time.min
        offset = datetime.fromisoformat(f"{day}T00:00{form['offset'].upper()}").tzinfo if form["offset"] else None
    except ValueError as error:
        raise click.UsageError(f"--at {text!r}: there is no such time: {error}") from None
    if day.year not in _YEARS:
        raise click.UsageError(f"--at {text!r} is out of range: years {_YEARS[0]} to {_YEARS[-1]} can be asked about")
    moment = datetime.combine(day, clock, offset)
    return from_datetime(moment) if offset is not None else _local(moment, timezone)


def _local(shown: datetime, timezone: str) -> Instant:
    zone = ZoneInfo(timezone)
    first, second = (from_datetime(shown.replace(tzinfo=zone, fold=fold).astimezone(UTC)) for fold in (0, 1))
    if first < second:
        other = to_datetime(second).astimezone(zone).isoformat()
        line(f"{shown:%H:%M} comes twice on {shown:%Y-%m-%d}: the first is taken; the second is {other}", err=True)
    if first <= second:
        return first
    _, (change, _, _) = constant_offsets(timezone, second, first)
    then = to_datetime(change).astimezone(zone)
    line(f"{shown:%H:%M} does not exist on {shown:%Y-%m-%d}: the clocks go forward; {then:%H:%M} is taken", err=True)
    return change
