"""The sessions of exchanges as JSON on standard output: ``market_sessions XNYS --from 2026-01-01 --to 2028-12-31``.

A short-lived process of its own, because exchange_calendars brings pandas: 120 MB that the service shall not carry. It
imports nothing else of the project. ``--exchanges`` prints what ``exchanges.json`` holds: names, zones, usual hours.

    {"XNYS": {"format": 1, "exchange": "XNYS", "first_day": "2026-01-01", "last_day": "2028-12-31", "sessions": [
        {"day": "2026-11-27", "open": "2026-11-27T14:30:00Z", "close": "2026-11-27T18:00:00Z", "early": true}]},
     "XNSE": {"error": "..."}}

``breaks`` (pairs of times) and ``late`` stand only where there are some. Where a calendar knows less than was asked,
``last_day`` is the last one it knows.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = 1
NOT_INSTALLED = 3

_RECENT = "2025-06-01"


def sessions_of(exchange: str, first_day: str, last_day: str) -> dict[str, Any]:
    """What is known of an exchange's sessions from the first to the last day, or ``{"error": ...}``."""
    calendars = _library()
    try:
        try:
            calendar, known_until = calendars.get_calendar(exchange, start=first_day, end=last_day), last_day
        except ValueError:  # of some exchanges, holidays are known for this year alone
            calendar = calendars.get_calendar(exchange, start=first_day)
            known_until = min(last_day, f"{calendar.last_session:%Y-%m-%d}")
    except Exception as error:  # a calendar that its library cannot build must not cost the other exchanges theirs
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}
    early, late = set(calendar.early_closes), set(calendar.late_opens)
    rows = []
    for day, row in calendar.schedule.loc[first_day:known_until].iterrows():
        session: dict[str, Any] = {"day": f"{day:%Y-%m-%d}", "open": _text(row["open"]), "close": _text(row["close"])}
        if row["break_start"] == row["break_start"]:  # NaT, where there is none, is unlike itself
            session["breaks"] = [[_text(row["break_start"]), _text(row["break_end"])]]
        marks = {"early": day in early, "late": day in late}
        rows.append(session | {name: True for name, is_so in marks.items() if is_so})
    return {"format": FORMAT, "exchange": exchange, "first_day": first_day, "last_day": known_until, "sessions": rows}


def exchanges() -> dict[str, Any]:
    """Every exchange: its zone, weekdays from Monday, usual hours of today, and other names it is known by."""
    calendars = _library()
    names = calendars.get_calendar_names(include_aliases=False)
    others = {alias: _resolved(calendars, alias) for alias in calendars.get_calendar_names() if alias not in names}
    found = {}
    for name in sorted(names):
        calendar = calendars.get_calendar(name, start=_RECENT)
        break_start, break_end = _newest(calendar.break_start_times), _newest(calendar.break_end_times)
        found[name] = {
            "timezone": str(calendar.tz),
            "weekdays": calendar.weekmask,
            "open": f"{_newest(calendar.open_times):%H:%M}",
            "open_days_before": -calendar.open_offset,
            "close": f"{_newest(calendar.close_times):%H:%M}",
            "close_days_after": calendar.close_offset,
            "breaks": [[f"{break_start:%H:%M}", f"{break_end:%H:%M}"]] if break_start else [],
            "aliases": sorted(alias for alias, resolved in others.items() if resolved == name),
        }
    return found


def _library() -> Any:
    import exchange_calendars  # noqa: PLC0415  only here, and only when asked

    return exchange_calendars


def _resolved(calendars: Any, alias: str) -> str:
    return str(calendars.resolve_alias(alias))


def _newest(times: Any) -> Any:
    """Of what held from different dates on, what holds today; None where there is nothing."""
    return times[-1][1] if times else None


def _text(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def main(arguments: Iterable[str]) -> int:
    parser = argparse.ArgumentParser(prog="market_sessions")
    parser.add_argument("exchange", nargs="*")
    parser.add_argument("--from", dest="first_day")
    parser.add_argument("--to", dest="last_day")
    parser.add_argument("--exchanges", action="store_true")
    asked = parser.parse_args(list(arguments))
    warnings.simplefilter("ignore")  # of pandas to its callers
    try:
        _library()
    except ImportError as error:
        sys.stderr.write(f"exchange_calendars is not installed: {error}\n")
        return NOT_INSTALLED
    if asked.exchanges:
        entries = (f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in exchanges().items())
        sys.stdout.write("{\n" + ",\n".join(entries) + "\n}\n")
    elif asked.exchange and asked.first_day and asked.last_day:
        answer = {exchange: sessions_of(exchange, asked.first_day, asked.last_day) for exchange in asked.exchange}
        sys.stdout.write(json.dumps(answer))
    else:
        parser.error("write the exchanges, --from and --to, or --exchanges")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
