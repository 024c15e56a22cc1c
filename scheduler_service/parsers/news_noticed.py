"""What is worth telling of a company's news: filed results, and stories that move a price. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from scheduler_service.clock import DAY, from_iso
from scheduler_service.models import Notice
from scheduler_service.parsers.news import FILINGS_PUBLISHER
from scheduler_service.parsers.news_once import names_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.parsers.news import NewsData, NewsItem

RESULTS_FILED: Final = "filing.results"
HIGH_IMPACT: Final = "news.high_impact"
NEWS_FOR: Micros = 3 * DAY
"""What was published longer ago, and before its source was last heard, is no news, though it was found only now."""
LATE_NEWS_FOR: Micros = 30 * DAY
"""So long back is told what came while the source was not heard; and so long results are due to be looked at."""
_RESULTS = "(2.02)"
_GRAVE_ITEMS = ("(1.03)", "(1.05)", "(2.01)", "(2.06)", "(3.01)", "(4.02)", "(5.01)")
"""Of form 8-K: bankruptcy, cybersecurity, acquisition, impairment, delisting, restatement, change in control."""
_MOVES_A_PRICE = {
    "insolvency": r"bankruptc|chapter 11|insolven|going concern",
    "takeover": r"\bacquires?\b|acquired by|acquisition of|buys? .+ for \$|\bmerge[rs]?\b|takeover|buyout",
    "accounts": r"restates?\b|restatement|accounting (?:fraud|irregularit)|auditor resigns",
    "authorities": r"\b(?:sec|doj|ftc)\b.{0,20}(?:charges|sues|probe|investigat)|subpoena|antitrust|indicted",
    "outlook": r"(?:cuts?|lowers?|slashes|raises?|withdraws?) .{0,30}(?:guidance|outlook|forecast)|profit warning",
    "approval": r"\bfda\b.{0,30}(?:approv|reject|clears|declin)|phase (?:3|iii).{0,40}(?:fail|miss|meets)",
    "safety": r"\brecalls?\b|data breach|ransomware|cyberattack",
    "listing": r"delist|trading halt|halts trading",
    "leadership": r"\b(?:ceo|cfo|chief executive|chief financial officer)\b.{0,40}(?:resign|steps? down|ousted|dies)",
}
_HEADLINES = {why: re.compile(pattern, re.IGNORECASE) for why, pattern in _MOVES_A_PRICE.items()}


def news_notices(
    symbol: str, before: NewsData | None, after: NewsData, now: Instant, since: Instant | None
) -> list[Notice]:
    """Of the stories that were not known before, also of those that came while their source was not heard, from
    ``since`` on. Where a stock or a source is looked at for the first time nothing is news.
    """
    if before is None or since is None:
        return []
    news_since = max(now - LATE_NEWS_FOR, min(now - NEWS_FOR, since))
    known = {name for item in before.items for name in names_of(item)}
    fresh = (item for item in after.items if known.isdisjoint(names_of(item)))
    return [notice for item in fresh for notice in _of(symbol, item, news_since, now)]


def impact(item: NewsItem) -> str | None:
    """Why a story moves a price, by the item of its filing or the words of its headline; None: it does not."""
    if item.publisher == FILINGS_PUBLISHER:
        return "filing" if any(grave in item.title for grave in _GRAVE_ITEMS) else None
    return next((why for why, pattern in _HEADLINES.items() if pattern.search(item.title)), None)


def _of(symbol: str, item: NewsItem, news_since: Instant, now: Instant) -> Iterator[Notice]:
    facts = {"item": item.model_dump(mode="json")}
    filed = item.provenance.accession or item.id
    if item.publisher == FILINGS_PUBLISHER and _RESULTS in item.title and _is_of(item, now - LATE_NEWS_FOR, now):
        yield Notice(f"{RESULTS_FILED}:{symbol}:{filed}", RESULTS_FILED, item.title, facts, symbol)
    if (why := impact(item)) is not None and _is_of(item, news_since, now):
        said = f"{symbol}: {item.title} ({item.publisher})"
        yield Notice(
            f"{HIGH_IMPACT}:{symbol}:{item.id}", HIGH_IMPACT, said, {**facts, "impact": why}, symbol, is_alert=True
        )


def _is_of(item: NewsItem, since: Instant, now: Instant) -> bool:
    return item.published_at is not None and since <= from_iso(item.published_at) <= now + DAY
