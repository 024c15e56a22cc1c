"""What a search of the sandbox's web finds about a company: generated stories, and pages about what it reported."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from scheduler_service.clock import HOUR, Instant, utc_day
from scheduler_service.sandbox.feeds import headlines

if TYPE_CHECKING:
    from datetime import date

    from scheduler_service.sandbox.company import Profile
    from scheduler_service.sandbox.reported import Reported

PERIOD = 8 * HOUR
"""How often the stories change."""
STORIES = 6
STORIES_OF_THE_FEED = 2
RELEASES = 3
RECENCY_DAYS = {"hour": 1, "day": 1, "week": 7, "month": 31, "year": 366}

_STORIES = (
    ("{name}: invented story {number} of a search that is not real", "An imaginary reader liked **{name}** a lot."),
    ("Nothing new at {name}, says made-up source {number}", "No one was there.\n...\n{symbol} was on a list."),
    ("Generated page {number} mentions {name} ({symbol})", "# {name}\n...\nIt is mentioned once.^[2]^"),
    (
        "Make-believe trouble number {number} for {name}",
        "A fictional lamp at **{name}** went out.\n...\nIt was mended.",
    ),
)
_HOSTS = ("daily", "wire", "markets")


@dataclass(frozen=True, slots=True)
class Found:
    """One result, ``id`` from 1. Most results have no ``day``. ``topic``: what a model would take from it."""

    id: int
    title: str
    url: str
    snippet: str
    day: date | None
    seen: date
    topic: str = "story"


def found(
    profile: Profile, told: Reported, now: Instant, *, recency: str | None = None, most: int = 20
) -> tuple[Found, ...]:
    """What is found now, best first. ``recency`` leaves out what is dated before it; what has no date stays."""
    today = utc_day(now)
    stories, pages = _stories(profile, now), _pages(profile, told, today)
    mixed = [*stories[:4], *pages[:3], *stories[4:], *pages[3:], beside_the_point(today)]
    since = today - timedelta(days=RECENCY_DAYS[recency]) if recency else None
    kept = [one for one in mixed if since is None or one.day is None or one.day >= since]
    return tuple(replace(one, id=number) for number, one in enumerate(kept[:most], start=1))


def _stories(profile: Profile, now: Instant) -> list[Found]:
    """Some that the feed has too, under the same address, and some of the search's own; a third has no date."""
    today = utc_day(now)
    shared = [
        Found(0, one.title, one.link, f"Generated for {profile.symbol}.", utc_day(one.at), today)
        for one in headlines(profile, now, STORIES_OF_THE_FEED)
    ]
    own = []
    for period in range(now // PERIOD, now // PERIOD - STORIES, -1):
        number = int.from_bytes(hashlib.sha256(f"{profile.symbol} search {period}".encode()).digest()[:4])
        title, snippet = (
            text.format(name=profile.name, symbol=profile.symbol, number=number)
            for text in _STORIES[number % len(_STORIES)]
        )
        day = None if number % 3 == 0 else utc_day(period * PERIOD)
        url = f"https://{_HOSTS[number % len(_HOSTS)]}.sandbox.invalid/{profile.symbol.lower()}/{number:08x}"
        own.append(Found(0, title, url, snippet, day, today))
    return [own[0], *shared, *own[1:]]


def _pages(profile: Profile, told: Reported, today: date) -> list[Found]:
    """The key figures and the calendar, without a date; then the newest reports."""
    site = f"https://investors.sandbox.invalid/{profile.symbol.lower()}"
    name = profile.name
    pages = [
        Found(
            0,
            f"{name} ({profile.symbol}): key figures",
            f"{site}/figures",
            f"**{name}**\n...\nGenerated from the bundled figures.",
            None,
            today,
            "figures",
        ),
        Found(0, f"{name}: calendar of results", f"{site}/calendar", f"When {name} reports.", None, today, "calendar"),
    ]
    for period in [one for one in told.periods if one.kind == "quarter"][:RELEASES]:
        title = f"{name} reports results of the quarter to {period.end.isoformat()}"
        snippet = f"Net income of {period.figures['net_income']:,} {told.currency}.\n...\nA page of the sandbox."
        url = f"{site}/results/{period.end.isoformat()}"
        pages.append(Found(0, title, url, snippet, period.filed, today, f"quarter {period.end.isoformat()}"))
    return pages


def beside_the_point(today: date) -> Found:
    """A page as any search has one: it names no company."""
    return Found(
        1,
        "Generated market page",
        "https://markets.sandbox.invalid/today",
        "Indices of an imaginary exchange.",
        None,
        today,
        "none",
    )
