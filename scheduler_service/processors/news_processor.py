"""The news domain: headlines from feeds, stories a web search finds, and filings at the SEC that are news."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from scheduler_service.clients import feed_client, perplexity_client
from scheduler_service.clients.edgar_client import MAX_AGE_SUBMISSIONS
from scheduler_service.clients.perplexity_client import SEARCHES, Question
from scheduler_service.errors import ClientError, Held, NotFound, NotKept, ParseError, PermanentClientError
from scheduler_service.models import Contribution, Kind, Reason
from scheduler_service.parsers.feed import parse_feed
from scheduler_service.parsers.news import NewsData, items_from_feed, items_from_filings
from scheduler_service.parsers.news_noticed import news_notices
from scheduler_service.parsers.news_once import accumulate_news, merge_news, news_of
from scheduler_service.parsers.news_search import (
    INSTRUCTIONS,
    SCHEMA,
    items_from_search,
    question,
    read_choice,
    read_results,
    search_query,
)
from scheduler_service.parsers.stock_names import Stock
from scheduler_service.processors.base import Processor, Rebuilding
from scheduler_service.processors.company import PROVIDER, SUBMISSIONS, read_name, read_submissions
from scheduler_service.settings.units import format_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.calls import Answer, Ask, Resource
    from scheduler_service.clients.edgar_client import EdgarClient
    from scheduler_service.clients.feed_client import FeedClient
    from scheduler_service.clients.perplexity_client import PerplexityClient
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import Notice, StockState, Symbol
    from scheduler_service.parsers.feed import ParsedFeed
    from scheduler_service.parsers.news_search import Story
    from scheduler_service.parsers.submissions import Filing


class Feeds:
    """Headlines of every configured feed; one that fails does not silence the others."""

    name: ClassVar[str] = "feeds"
    provider: ClassVar[str] = "feeds"
    kind: ClassVar[Kind] = Kind.FEED
    slow: ClassVar[bool] = False
    kept_for: ClassVar[Micros] = feed_client.MAX_AGE
    helped_by: ClassVar[str] = PROVIDER
    """By what a company is called there its stories are told from others', where the watchlist names none."""

    def __init__(self, client: FeedClient, edgar: EdgarClient | None = None) -> None:
        self._client = client
        self._edgar = edgar
        self._built = Rebuilding[NewsData]()

    def serves(self, symbol: Symbol) -> bool:
        return not self._client.has_feeds or bool(self._client.feeds(symbol))

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[NewsData]:
        del state
        answers: list[tuple[Answer[ParsedFeed], Stock | None]] = []
        failures: list[ClientError | ParseError | Held] = []
        resources = self._client.feeds(symbol)
        if not resources and self._client.has_feeds:
            return Contribution(self.name, self.kind, news_of([]))  # only other companies have feeds of their own
        name = symbol.name
        if name is None and self._edgar is not None:
            name = await read_name(ask, self._edgar, symbol)
        stock = Stock(symbol.at(self.provider), name)
        for resource in resources:
            try:
                answer = await ask(resource, parse_feed)
            except (ClientError, ParseError, Held) as error:
                failures.append(error)
            else:
                own = self._client.is_own(symbol, resource)
                answers.append((answer, None if own else stock))
        if len(failures) == len(resources):
            raise _worth_raising(failures)

        def news() -> NewsData:
            return news_of(
                item for answer, about in answers for item in items_from_feed(answer, self.name, symbol.symbol, about)
            )

        said = self._built.of(symbol.symbol, [symbol, name, *(answer.value for answer, _ in answers)], news)
        return Contribution(self.name, self.kind, said)


class EdgarFilings:
    """Filings of the forms that are news, from the company's list at EDGAR."""

    name: ClassVar[str] = "edgar_filings"
    provider: ClassVar[str] = PROVIDER
    kind: ClassVar[Kind] = Kind.FILING
    slow: ClassVar[bool] = False
    kept_for: ClassVar[Micros] = MAX_AGE_SUBMISSIONS
    asks: ClassVar[str] = SUBMISSIONS

    def __init__(self, client: EdgarClient) -> None:
        self._client = client
        self._built = Rebuilding[NewsData]()

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[NewsData]:
        del state
        answer = await read_submissions(ask, self._client, symbol)

        def url(filing: Filing) -> str:
            return self._client.filing_url(answer.value.cik, filing.accession, filing.document)

        def news() -> NewsData:
            return news_of(items_from_filings(answer, self.name, symbol.symbol, url))

        return Contribution(self.name, self.kind, self._built.of(symbol.symbol, [symbol, answer.value], news))


class PerplexityNews:
    """Stories that a web search finds. What the search itself returns is no model's word, so it counts as a feed.

    Where the search is not served, a model searches and chooses, which is dearer; the search is tried again next day.
    """

    name: ClassVar[str] = "perplexity"
    provider: ClassVar[str] = "perplexity"
    kind: ClassVar[Kind] = Kind.MODEL
    slow: ClassVar[bool] = True
    kept_for: ClassVar[Micros] = perplexity_client.MAX_AGE
    endpoint: ClassVar[str] = SEARCHES

    def __init__(self, client: PerplexityClient) -> None:
        self._client = client
        self._untold: str | None = None
        """What is said once, with the next answer that is good."""

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[NewsData]:
        del state
        stock = Stock(symbol.at(self.provider), symbol.name)
        asked = Question("news", INSTRUCTIONS, question(stock), SCHEMA, recency="week")
        of_model = self._client.answer(symbol, asked)
        kind, warning = Kind.FEED, None
        answer = await self._searched(ask, symbol, stock, of_model) if self._client.serves_search else None
        if answer is None:
            kind = Kind.MODEL
            answer = await ask(of_model, read_choice)
            warning, self._untold = self._untold, None
        items = items_from_search(answer, self.name, symbol.symbol, stock, kind)
        return Contribution(self.name, kind, news_of(items), warning)

    async def _searched(
        self, ask: Ask, symbol: Symbol, stock: Stock, instead: Resource
    ) -> Answer[tuple[Story, ...]] | None:
        search = self._client.search(symbol, search_query(stock), recency="week")
        try:
            return await ask(search, partial(read_results, stock=stock))
        except NotKept:
            return None  # a model may have been asked then
        except NotFound as error:
            if self._client.serves_search:
                self._untold = _dearer(error, search, instead)
                self._client.do_without_search()
            return None


class NewsProcessor(Processor[NewsData]):
    """News is events: what a source no longer lists is kept, within the configured retention."""

    domain = "news"
    record = NewsData
    sources = (Feeds, EdgarFilings, PerplexityNews)

    def merge(self, contributions: Sequence[Contribution[NewsData]]) -> NewsData:
        if self.retention is None:
            return merge_news(contributions)
        return merge_news(contributions, age=self.retention.age, most=self.retention.items)

    def notices(
        self, symbol: str, before: NewsData | None, after: NewsData, now: Instant, since: Instant | None
    ) -> Sequence[Notice]:
        return news_notices(symbol, before, after, now, since)

    def accumulate(self, previous: NewsData | None, new: NewsData, now: Instant) -> NewsData:
        if self.retention is None:
            return accumulate_news(previous, new, now)
        return accumulate_news(previous, new, now, age=self.retention.age, most=self.retention.items)


def _dearer(why: NotFound, search: Resource, instead: Resource) -> str:
    prices = (format_usd(resource.expected.usd_micros / 1e6) for resource in (instead, search))
    return f"{why}; for a day a model is asked for news instead, a call at most about {' instead of '.join(prices)}"


def _worth_raising(failures: Sequence[ClientError | ParseError | Held]) -> Exception:
    """A closed gate opens again and the task with it; otherwise the first failure stands for all."""
    if not failures:
        return PermanentClientError("providers.feeds.urls names no feed", Reason.PROVIDER_OFF)
    return next((failure for failure in failures if isinstance(failure, Held)), failures[0])
