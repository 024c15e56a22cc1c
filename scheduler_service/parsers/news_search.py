"""News found by a web search: search results as items of the news domain, and a model's choice among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scheduler_service.clock import from_iso
from scheduler_service.errors import ParseError
from scheduler_service.models import Kind, Reason
from scheduler_service.parsers.feed import LONGEST_SUMMARY, LONGEST_TITLE, clean_url, plain_text
from scheduler_service.parsers.json_values import as_list, as_object, as_text
from scheduler_service.parsers.model_answer import read_answer, read_object, read_search
from scheduler_service.parsers.model_prose import plain
from scheduler_service.parsers.news import NewsItem, web_story
from scheduler_service.parsers.stated import (
    INTEGER_OR_NULL,
    MOST_ROWS,
    RULES,
    canonical,
    list_of,
    one_of,
    source_of,
    strict_object,
)
from scheduler_service.parsers.stock_names import speaks_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler_service.calls import Answer
    from scheduler_service.clock import Instant
    from scheduler_service.parsers.model_answer import SearchResult
    from scheduler_service.parsers.stock_names import Stock

SENTIMENTS = ("positive", "neutral", "negative")
INSTRUCTIONS = RULES
SCHEMA = canonical(
    strict_object(
        {"stories": list_of(strict_object({"source": INTEGER_OR_NULL, "sentiment": one_of(*SENTIMENTS, None)}))}
    )
)


@dataclass(frozen=True, slots=True)
class Story:
    """A search result that may be news, and the mood a model found in it."""

    result: SearchResult
    sentiment: str | None = None


def search_query(stock: Stock) -> str:
    return f"{stock.company} {stock.ticker} stock news".strip()


def question(stock: Stock) -> str:
    """What a model is asked where the search itself cannot be."""
    return (
        f"Search for news of the last seven days about {stock}. List each search result that is a news story about "
        "this company as one row of `stories`: the id of the search result as `source`, and as `sentiment` what the "
        "story means for the company's shareholders, null where that is not clear. Leave out quote pages, overviews "
        "and stories about other companies; an empty list is a good answer."
    )


def read_results(body: bytes, stock: Stock) -> tuple[Story, ...]:
    """What a search found. ``ParseError(NO_DATA)`` where it found nothing at all: that no search does for a name."""
    results = read_search(body)
    if not results:
        raise ParseError(f"the search for {stock} found nothing; check the ticker", Reason.NO_DATA)
    return tuple(Story(result) for result in results)


def read_choice(body: bytes) -> tuple[Story, ...]:
    """The search results a model took for news. What it made up itself, an id or a mood, is left out."""
    answer = read_answer(body)
    stories = read_object(answer.text).get("stories")
    if not isinstance(stories, list):
        raise ParseError("the answer holds no list of stories", Reason.UNREADABLE)
    chosen: list[Story] = []
    for row in map(as_object, as_list(stories)[:MOST_ROWS]):
        result, mood = source_of(row, answer.results), as_text(row.get("sentiment")).lower()
        if result is not None:
            chosen.append(Story(result, mood if mood in SENTIMENTS else None))
    return tuple(chosen)


def items_from_search(
    answer: Answer[tuple[Story, ...]], source: str, symbol: str, stock: Stock, kind: Kind
) -> tuple[NewsItem, ...]:
    """The stories about this stock as items: title, address and day as the search gave them, no word of a model's.

    Left out is what does not speak of the stock, has no title, or is a site's front page. The day of a result has no
    hour: it counts as its midnight. A mood is kept only where the ``kind`` says that a model is behind it.
    """
    return tuple(_items(answer, source, symbol, stock, kind))


def _items(answer: Answer[tuple[Story, ...]], source: str, symbol: str, stock: Stock, kind: Kind) -> Iterable[NewsItem]:
    for story in answer.value:
        result = story.result
        title, url = plain_text(plain(result.title[: 2 * LONGEST_TITLE]), LONGEST_TITLE), clean_url(result.url)
        summary = plain_text(plain(result.snippet[: 2 * LONGEST_SUMMARY]), LONGEST_SUMMARY)
        if not title or url is None or not speaks_of(f"{title}\n{summary}", stock):
            continue
        parts = urlsplit(url)
        if parts.path.strip("/") or parts.query:
            yield web_story(
                answer,
                source=source,
                symbols=(symbol,),
                kind=kind,
                title=title,
                url=url,
                publisher=(parts.hostname or "").removeprefix("www."),
                published=_midnight(result),
                summary=summary or None,
                sentiment=story.sentiment if kind is Kind.MODEL else None,
            )


def _midnight(result: SearchResult) -> Instant | None:
    return from_iso(f"{result.published.isoformat()}T00:00:00Z") if result.published else None
