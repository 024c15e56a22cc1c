"""News at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from scheduler_service.cli.figures import UNKNOWN, cut
from scheduler_service.cli.terminal import line, safe, table
from scheduler_service.parsers.news import NewsData

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler_service.parsers.news import NewsItem

RECORD: Final = NewsData
PLACE: Final = 4
STORIES_SHOWN = 8
STORIES_TOLD = 5
LONGEST_PUBLISHER = 16


def detail(data: NewsData, *, whole: bool) -> None:
    items = _dated_first(data)
    shown = items if whole else items[:STORIES_SHOWN]
    table("", ["when (UTC)", "publisher", "story"], [_story(item) for item in shown], long=("publisher", "story"))
    if len(shown) < len(data.items):
        line(f"{len(data.items) - len(shown)} older ones: name the domain to see them all")


def brief(data: NewsData) -> Iterator[str]:
    yield "Latest news" if data.items else "No news"
    for item in _dated_first(data)[:STORIES_TOLD]:
        when = item.published_at[5:16].replace("T", " ") if item.published_at else UNKNOWN
        yield f"  {when:<11}  {cut(item.publisher, LONGEST_PUBLISHER):<{LONGEST_PUBLISHER}}  {item.title}"


def _dated_first(data: NewsData) -> list[NewsItem]:
    """Also of documents from before they were in this order. What a search finds without a date is often no news."""
    return sorted(data.items, key=lambda item: item.published_at is None)


def _story(item: NewsItem) -> tuple[object, ...]:
    when = item.published_at[:16].replace("T", " ") if item.published_at else UNKNOWN
    return when, item.publisher, Text.assemble(safe(item.title), "\n", safe(item.url, style="dim"))
