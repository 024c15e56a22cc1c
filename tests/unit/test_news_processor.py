from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import orjson
import pytest

from scheduler_service.calls import Answer, Client, Resource
from scheduler_service.clients.edgar_client import EdgarClient
from scheduler_service.clients.feed_client import FeedClient
from scheduler_service.clock import DAY, MINUTE
from scheduler_service.errors import Held, NotFound
from scheduler_service.models import Contribution, Kind, Reason, RunOrigin, Symbol, Task, TaskState
from scheduler_service.parsers.news import NewsData
from scheduler_service.processors.base import Retention, SourcePolicy
from scheduler_service.processors.news_processor import NewsProcessor
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

CLOCK = FakeClock()
NOW = CLOCK.now()
APPLE = Symbol("AAPL")
FIRST, SECOND = "https://one.example/AAPL.rss", "https://two.example/AAPL.rss"
TICKERS = "https://www.sec.gov/files/company_tickers.json"
SUBMISSIONS = "https://data.sec.gov/submissions/CIK0000320193.json"

UNNAMED = NotFound("nobody says what companies are called", Reason.NO_DATA)


class FakeAsk:
    """Answers by URL with a body, or raises the error it holds."""

    def __init__(self, answers: Mapping[str, bytes | Exception]) -> None:
        self.answers = answers

    async def __call__(self, resource: Resource, parse: Callable[[bytes], T]) -> Answer[T]:
        found = self.answers.get(resource.request.url, UNNAMED if resource.request.url == TICKERS else None)
        assert found is not None, resource.request.url
        if isinstance(found, Exception):
            raise found
        return Answer(parse(found), f"call of {resource.key}", resource.request.url, NOW, sandbox=False, asked=True)


def feed(*titles: str) -> bytes:
    links = "".join(f"<item><title>{t}</title><link>https://a.example/{t[:5]}</link></item>" for t in titles)
    return f'<rss version="2.0"><channel>{links}</channel></rss>'.encode()


def processor(*urls: str, retention: Retention | None = None) -> NewsProcessor:
    clients: dict[str, Client] = {
        "feeds": FeedClient(FeedClient.Options(urls=urls), CLOCK),
        "edgar": EdgarClient(EdgarClient.Options(), CLOCK),
    }
    policies = [SourcePolicy("feeds", 20 * MINUTE), SourcePolicy("edgar_filings", 20 * MINUTE)]
    return NewsProcessor(clients, policies, retention)


def task(source: str = "feeds") -> Task:
    return Task(1, 1, None, RunOrigin.MANUAL, "news", "AAPL", source, NOW, 1)


async def test_all_feeds_are_asked_and_told_as_one() -> None:
    ask = FakeAsk({FIRST: feed("Apples are ripe today"), SECOND: feed("Pears are ripe today", "Apples are ripe today")})
    news = processor(FIRST, SECOND)
    outcome = await news.process(task(), {}, APPLE, ask, NOW)
    assert (outcome.state, outcome.kind) == (TaskState.COMPLETED, Kind.FEED)
    assert outcome.contribution is not None
    assert {item.title for item in news.read(outcome.contribution).items} == {
        "Apples are ripe today",
        "Pears are ripe today",
    }


@pytest.mark.parametrize("failure", [NotFound("gone", Reason.NO_DATA), Held("shut", Reason.RATE_LIMITED, NOW + DAY)])
async def test_a_feed_that_fails_does_not_silence_the_others(failure: Exception) -> None:
    ask = FakeAsk({FIRST: failure, SECOND: feed("Pears are ripe today")})
    outcome = await processor(FIRST, SECOND).process(task(), {}, APPLE, ask, NOW)
    assert outcome.state is TaskState.COMPLETED


async def test_a_company_without_a_name_is_told_from_others_by_what_edgar_calls_it() -> None:
    table = orjson.dumps({"0": {"cik_str": 320193, "ticker": "AAPL", "title": "Apple Inc."}})
    ask = FakeAsk({TICKERS: table, FIRST: feed("Apple rests for a while", "Pears are ripe today")})
    news = processor(FIRST)
    outcome = await news.process(task(), {}, APPLE, ask, NOW)
    assert outcome.contribution is not None
    assert [item.title for item in news.read(outcome.contribution).items] == ["Apple rests for a while"]
    named = Symbol("AAPL", "Pears Limited")
    outcome = await news.process(task(), {}, named, ask, NOW)
    assert outcome.contribution is not None
    assert [item.title for item in news.read(outcome.contribution).items] == ["Pears are ripe today"]


async def test_it_fails_when_every_feed_failed() -> None:
    ask = FakeAsk({FIRST: NotFound("gone", Reason.NO_DATA), SECOND: b"<html></html>"})
    outcome = await processor(FIRST, SECOND).process(task(), {}, APPLE, ask, NOW)
    assert (outcome.state, outcome.reason) == (TaskState.FAILED, Reason.NO_DATA)


async def test_it_is_held_when_a_closed_gate_may_still_bring_news() -> None:
    ask = FakeAsk({FIRST: NotFound("gone", Reason.NO_DATA), SECOND: Held("shut", Reason.RATE_LIMITED, NOW + DAY)})
    with pytest.raises(Held):
        await processor(FIRST, SECOND).process(task(), {}, APPLE, ask, NOW)


async def test_without_any_feed_it_says_so() -> None:
    outcome = await processor().process(task(), {}, APPLE, FakeAsk({}), NOW)
    assert (outcome.state, outcome.reason) == (TaskState.FAILED, Reason.PROVIDER_OFF)


async def test_old_news_is_kept_within_the_retention() -> None:
    news = processor(FIRST, retention=Retention(age=90 * DAY, items=2))
    kept = None
    for title in ("Apples are ripe today", "Pears are ripe today", "Plums are ripe today"):
        outcome = await news.process(task(), {}, APPLE, FakeAsk({FIRST: feed(title)}), NOW)
        assert outcome.contribution is not None
        kept = news.accumulate(kept, news.read(outcome.contribution), NOW)
    assert kept is not None
    assert len(kept.items) == 2


def test_without_a_retention_everything_is_kept() -> None:
    assert processor(FIRST).accumulate(None, NewsData(), NOW) == NewsData()


async def test_filings_come_from_the_companys_list_at_edgar() -> None:
    columns = {
        "accessionNumber": ["0000320193-26-000002", "0000320193-26-000001"],
        "filingDate": ["2026-10-31", "2026-10-30"],
        "form": ["4", "8-K"],
        "items": ["", "2.02,9.01"],
        "primaryDocument": ["x.xml", "a.htm"],
    }
    submissions = {"cik": "0000320193", "name": "Apple Inc.", "tickers": ["AAPL"], "filings": {"recent": columns}}
    ask = FakeAsk(
        {
            TICKERS: b'{"0": {"cik_str": 320193, "ticker": "AAPL", "title": "Apple Inc."}}',
            SUBMISSIONS: orjson.dumps(submissions),
        }
    )
    news = processor()
    outcome = await news.process(task("edgar_filings"), {}, APPLE, ask, NOW)
    assert outcome.contribution is not None
    data = news.read(outcome.contribution)
    (item,) = data.items
    assert item.title == "Apple Inc. files 8-K: results of operations (2.02)"
    assert item.url == "https://www.sec.gov/Archives/edgar/data/320193/000032019326000001/a.htm"
    merged = news.merge(news.order({"edgar_filings": Contribution("edgar_filings", Kind.FILING, data)}))
    assert merged.items == (item,)
