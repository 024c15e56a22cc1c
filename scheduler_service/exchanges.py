"""The exchanges there are, and the hours they usually keep; ``exchanges.json`` is what ``market_sessions`` prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from scheduler_service.clock import Instant, from_datetime


@dataclass(frozen=True, slots=True)
class Exchange:
    """``weekdays``: those with sessions, 0 is Monday. The times are local ones of the exchange.

    A session may open on a day before the one it belongs to, and close on a day after.
    """

    name: str
    timezone: str
    weekdays: frozenset[int]
    open: time
    open_days_before: int
    close: time
    close_days_after: int
    breaks: tuple[tuple[time, time], ...]
    aliases: tuple[str, ...]

    def usual_open(self, day: date) -> Instant:
        return self.at(day - timedelta(days=self.open_days_before), self.open)

    def usual_close(self, day: date) -> Instant:
        return self.at(day + timedelta(days=self.close_days_after), self.close)

    def usual_breaks(self, day: date) -> tuple[tuple[Instant, Instant], ...]:
        return tuple((self.at(day, start), self.at(day, end)) for start, end in self.breaks)

    def hours(self) -> str:
        """``09:30-16:00``, or with its break ``09:00-11:30, 12:30-15:30``."""
        times = [self.open, *(time for pause in self.breaks for time in pause), self.close]
        shown = [f"{time:%H:%M}" for time in times]
        shown[-1] = "24:00" if shown[-1] == "00:00" else shown[-1]
        return ", ".join(f"{start}-{end}" for start, end in zip(shown[::2], shown[1::2], strict=True))

    def at(self, day: date, local: time) -> Instant:
        """This local time of this day."""
        return from_datetime(datetime.combine(day, local, tzinfo=ZoneInfo(self.timezone)))


def find_exchange(name: object) -> Exchange:
    """The exchange of this name, in any case, or of this other name (``NASDAQ``). Raises ``ValueError``."""
    known = _by_name()
    wanted = name.strip().upper() if isinstance(name, str) else ""
    if wanted in known:
        return known[wanted]
    close = get_close_matches(wanted, known, n=3, cutoff=0.7)
    hint = f"did you mean {_or(sorted(close, key=close.index))}?" if close else "write one such as XNYS, XLON or XTKS"
    raise ValueError(f"{name!r} is not a known exchange; {hint}")


def is_exchange(name: object) -> bool:
    """Whether ``find_exchange`` finds it."""
    return isinstance(name, str) and name.strip().upper() in _by_name()


@cache
def all_exchanges() -> Mapping[str, Exchange]:
    """Every exchange by its name."""
    return parse_exchanges((files("scheduler_service") / "exchanges.json").read_bytes())


def parse_exchanges(text: bytes) -> Mapping[str, Exchange]:
    """What ``market_sessions --exchanges`` printed."""
    return {
        name: Exchange(
            name=name,
            timezone=raw["timezone"],
            weekdays=frozenset(day for day, letter in enumerate(raw["weekdays"]) if letter == "1"),
            open=time.fromisoformat(raw["open"]),
            open_days_before=raw["open_days_before"],
            close=time.fromisoformat(raw["close"]),
            close_days_after=raw["close_days_after"],
            breaks=tuple((time.fromisoformat(start), time.fromisoformat(end)) for start, end in raw["breaks"]),
            aliases=tuple(raw["aliases"]),
        )
        for name, raw in json.loads(text).items()
    }


@cache
def _by_name() -> Mapping[str, Exchange]:
    names: dict[str, Exchange] = {}
    for exchange in all_exchanges().values():
        names |= dict.fromkeys((alias.upper() for alias in exchange.aliases), exchange)
        names[exchange.name.upper()] = exchange
    return names


def _or(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
