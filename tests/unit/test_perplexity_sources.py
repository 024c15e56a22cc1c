"""Perplexity as a source of the three domains. Every answer here is synthetic: no recorded one is structured."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.calls import Answer, Resource
from scheduler_service.cli.document_view import print_data
from scheduler_service.clients.perplexity_client import PerplexityClient
from scheduler_service.clock import HOUR
from scheduler_service.errors import Held, NotFound, ParseError
from scheduler_service.models import Contribution, Kind, Reason, Record, RunOrigin, Symbol, Task, TaskState
from scheduler_service.parsers import news_search, stated_earnings, stated_fundamentals
from scheduler_service.parsers.earnings import EarningsData
from scheduler_service.parsers.fundamental_analysis import FundamentalsData, Metric
from scheduler_service.parsers.news import NewsData
from scheduler_service.parsers.news_once import news_of
from scheduler_service.parsers.stock_names import Stock
from scheduler_service.processors.base import SourcePolicy
from scheduler_service.processors.earnings_processor import EarningsProcessor
from scheduler_service.processors.fundamental_analyzer import FundamentalAnalyzer
from scheduler_service.processors.news_processor import NewsProcessor
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scheduler_service.models import Outcome
    from scheduler_service.processors.base import Processor

T = TypeVar("T")

CLOCK = FakeClock("2026-11-23T14:30:00Z")
NOW = CLOCK.now()
APPLE = Symbol("AAPL", name="Apple Inc.")
PAGES = [
    {"id": 1, "title": "Apple reports", "url": "https://news.example/one", "snippet": "...", "date": "2026-10-30"},
    {"id": 2, "title": "Apple (AAPL) dates", "url": "https://news.example/two", "snippet": "**Apple** will report"},
    {"id": 3, "title": "Pears are ripe", "url": "https://news.example/three", "snippet": "", "date": "2026-11-20"},
]
PROCESSORS: dict[str, type[Processor[Any]]] = {
    "news": NewsProcessor,
    "earnings": EarningsProcessor,
    "fundamentals": FundamentalAnalyzer,
}
SCHEMAS = {
    "news": news_search.SCHEMA,
    "earnings": stated_earnings.SCHEMA,
    "fundamentals": stated_fundamentals.SCHEMA,
}


def agent_body(said: object, pages: object = PAGES, **more: Any) -> bytes:
    """A synthetic answer of the Agent API; ``said`` as the model's text, JSON unless it is a text already."""
    text = said if isinstance(said, str) else orjson.dumps(said).decode()
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    output = [{"type": "search_results", "queries": ["q"], "results": pages}, message]
    return orjson.dumps({"status": "completed", "model": "perplexity/sonar", "output": output} | more)


def chat_body(said: object) -> bytes:
    """A synthetic answer of chat completions."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": orjson.dumps(said).decode()}}
    return orjson.dumps({"model": "sonar", "choices": [choice], "search_results": PAGES})


def search_body(*pages: dict[str, Any]) -> bytes:
    return orjson.dumps({"id": "1", "results": pages})


class FakeAsk:
    """Answers by path with a body, or raises the error it holds; ``asked`` lists the paths."""

    def __init__(self, **answers: bytes | Exception) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, resource: Resource, parse: Callable[[bytes], T]) -> Answer[T]:
        path = resource.request.url.rpartition("/")[2]
        self.asked.append(path)
        found = self.answers[path]
        if isinstance(found, Exception):
            raise found
        return Answer(parse(found), "7", resource.request.url, NOW, sandbox=False, asked=True)


def processor(domain: str, clock: FakeClock = CLOCK, **options: Any) -> Processor[Any]:
    client = PerplexityClient(PerplexityClient.Options(**options), clock)
    return PROCESSORS[domain]({"perplexity": client}, [SourcePolicy("perplexity", 12 * HOUR)])


def task(domain: str) -> Task:
    return Task(1, 1, None, RunOrigin.MANUAL, domain, "AAPL", "perplexity", NOW, 1)


async def collected(domain: str, ask: FakeAsk, symbol: Symbol = APPLE) -> Outcome:
    return await processor(domain).process(task(domain), {}, symbol, ask, NOW)


async def said_in(domain: str, body: bytes, symbol: Symbol = APPLE) -> Any:
    outcome = await collected(domain, FakeAsk(agent=body, search=body), symbol)
    assert outcome.contribution is not None, outcome.message
    return processor(domain).read(outcome.contribution)


async def failure_in(domain: str, body: bytes, symbol: Symbol = APPLE) -> Outcome:
    outcome = await collected(domain, FakeAsk(agent=body, search=body), symbol)
    assert (outcome.state, outcome.contribution) == (TaskState.FAILED, None)
    assert outcome.message
    return outcome


def row(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "quarter",
        "period_start": "2026-06-28",
        "period_end": "2026-09-26",
        "reported_on": "2026-10-29",
        "currency": "USD",
        "revenue": 102_466_000_000,
        "net_income": 27_466_000_000,
        "eps_diluted": 1.85,
        "source": 1,
    } | changes


def earnings(*rows: Any, **changes: Any) -> dict[str, Any]:
    return {
        "ticker": "AAPL",
        "company": "Apple Inc.",
        "reports": list(rows),
        "next_report_date": "2027-01-28",
        "next_report_time": "amc",
        "next_report_confirmed": True,
        "next_report_source": 2,
    } | changes


def figure(name: str = "cash", value: object = 35_934_000_000, unit: str = "USD", **changes: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "as_of": "2026-09-26", "source": 1} | changes


def fundamentals(*metrics: Any, **changes: Any) -> dict[str, Any]:
    analysis = {"analysis": "Apple earns a lot.[1]", "analysis_sources": [1, 2]}
    return {"ticker": "AAPL", "company": "Apple Inc.", "metrics": list(metrics)} | analysis | changes


# What is asked


DIGESTS = {"news": "eedd9dd384e5435c", "earnings": "75d4b0d8643d0be5", "fundamentals": "5d5b2d46d26acdc9"}


@pytest.mark.parametrize("domain", SCHEMAS)
def test_a_schema_keeps_its_bytes(domain: str) -> None:
    """A new schema costs the first call half a minute: change the digest only together with what is asked."""
    assert hashlib.sha256(SCHEMAS[domain]).hexdigest()[:16] == DIGESTS[domain]
    assert orjson.dumps(orjson.loads(SCHEMAS[domain]), option=orjson.OPT_SORT_KEYS) == SCHEMAS[domain]


@pytest.mark.parametrize("domain", SCHEMAS)
def test_a_schema_leaves_the_model_no_freedom(domain: str) -> None:
    def check(schema: dict[str, Any]) -> None:
        assert schema.keys() <= {"type", "properties", "required", "additionalProperties", "items", "enum"}
        if schema["type"] == "object":
            assert schema["additionalProperties"] is False
            assert sorted(schema["required"]) == sorted(schema["properties"]) != []
            for inner in schema["properties"].values():
                check(inner)
        if schema["type"] == "array":
            check(schema["items"])

    check(orjson.loads(SCHEMAS[domain]))


@pytest.mark.parametrize("domain", ["earnings", "fundamentals"])
async def test_a_question_names_the_company_and_is_the_same_on_every_day(domain: str) -> None:
    asked: list[Resource] = []

    async def ask(resource: Resource, parse: Callable[[bytes], T]) -> Answer[T]:
        asked.append(resource)
        raise NotFound("no", Reason.NO_DATA)

    for _ in range(2):
        CLOCK.advance(24 * HOUR)
        await processor(domain).process(task(domain), {}, APPLE, ask, NOW)
    first, second = asked
    assert first == second
    assert b"Apple Inc. (ticker AAPL)" in (first.request.body or b"")
    assert b"2026" not in (first.request.body or b"")


async def test_a_question_uses_the_providers_name_of_the_stock_and_no_template_in_it_is_filled() -> None:
    bodies: list[bytes] = []

    async def ask(resource: Resource, parse: Callable[[bytes], T]) -> Answer[T]:
        bodies.append(resource.request.body or b"")
        raise NotFound("no", Reason.NO_DATA)

    symbol = Symbol("BRK.B", name="{stock.name} %s\nInc", aliases={"perplexity": "BRK-B"})
    await processor("earnings").process(task("earnings"), {}, symbol, ask, NOW)
    assert b"{stock.name} %s Inc (ticker BRK-B)" in bodies[0]


# News


async def test_news_are_the_search_results_themselves() -> None:
    ask = FakeAsk(search=search_body(*PAGES))
    outcome = await collected("news", ask)
    assert (outcome.state, outcome.kind, ask.asked) == (TaskState.COMPLETED, Kind.FEED, ["search"])
    assert outcome.contribution is not None
    data: NewsData = processor("news").read(outcome.contribution)
    second, first = data.items
    assert (first.title, first.url, first.publisher) == ("Apple reports", "https://news.example/one", "news.example")
    assert (first.published_at, first.summary) == ("2026-10-30T00:00:00Z", "...")
    assert (second.published_at, second.summary, second.sentiment) == (None, "Apple will report", None)
    for item in data.items:
        assert (item.symbols, item.source) == (("AAPL",), "perplexity")
        origin = item.provenance
        assert (origin.kind, origin.source, origin.url, origin.call_id) == (Kind.FEED, "perplexity", item.url, "7")


@pytest.mark.parametrize(
    "page",
    [
        {"title": "", "url": "https://a.example/x"},
        {"title": "Apple", "url": "javascript:alert(1)"},
        {"title": "Apple", "url": "https://user@a.example/x"},
        {"title": "Apple", "url": "https://a.example/"},
        {"title": "An apple a day", "url": "https://a.example/x"},
        {"title": 7, "url": ["https://a.example/x"]},
    ],
)
async def test_what_is_no_story_about_the_stock_is_left_out(page: dict[str, Any]) -> None:
    assert await said_in("news", search_body(page, PAGES[2])) == NewsData()


async def test_a_story_from_the_future_has_no_date() -> None:
    data = await said_in("news", search_body(PAGES[0] | {"date": "2027-01-01"}))
    assert [item.published_at for item in data.items] == [None]


async def test_a_quiet_stock_has_empty_news_but_a_search_that_finds_nothing_at_all_failed() -> None:
    assert await said_in("news", search_body(PAGES[2])) == NewsData()
    outcome = await failure_in("news", search_body(), Symbol("NOSUCH"))
    assert outcome.reason is Reason.NO_DATA
    assert "NOSUCH" in (outcome.message or "")


async def test_without_the_search_a_model_chooses_which_is_told_once_with_its_price_and_holds_for_a_day() -> None:
    stories = [
        {"source": 1, "sentiment": "positive"},
        {"source": 2, "sentiment": "furious"},
        {"source": 99, "sentiment": "negative"},
        {"source": 3, "sentiment": "negative"},
        {"url": "https://invented.example/x"},
        "none",
    ]
    ask = FakeAsk(search=NotFound("gone", Reason.NO_DATA), agent=agent_body({"stories": stories}))
    clock = FakeClock()
    news = processor("news", clock)
    outcome = await news.process(task("news"), {}, APPLE, ask, NOW)
    assert (outcome.state, outcome.kind) == (TaskState.COMPLETED, Kind.MODEL)
    assert outcome.contribution is not None
    data: NewsData = news.read(outcome.contribution)
    assert {item.url: item.sentiment for item in data.items} == {
        "https://news.example/one": "positive",
        "https://news.example/two": None,
    }
    assert {item.provenance.kind for item in data.items} == {Kind.MODEL}
    price = "a call at most about $0.02 instead of $0.0050"
    assert outcome.message == f"gone; for a day a model is asked for news instead, {price}"
    assert (await news.process(task("news"), {}, APPLE, ask, NOW)).message is None
    assert ask.asked == ["search", "agent", "agent"]
    clock.advance(24 * HOUR)
    ask.answers["search"] = search_body(*PAGES)
    assert (await news.process(task("news"), {}, APPLE, ask, NOW)).kind is Kind.FEED
    assert ask.asked == ["search", "agent", "agent", "search"]


async def test_that_the_search_is_gone_is_told_even_if_the_model_had_to_wait() -> None:
    held = Held("shut", Reason.BUDGET_EXHAUSTED, NOW + HOUR)
    news, ask = processor("news", FakeClock()), FakeAsk(search=NotFound("gone", Reason.NO_DATA), agent=held)
    with pytest.raises(Held):
        await news.process(task("news"), {}, APPLE, ask, NOW)
    ask.answers["agent"] = agent_body({"stories": []})
    assert (await news.process(task("news"), {}, APPLE, ask, NOW)).message is not None


async def test_a_search_that_was_found_missing_in_the_future_is_asked_at_once() -> None:
    clock = FakeClock()
    client = PerplexityClient(PerplexityClient.Options(), clock)
    client.do_without_search()
    assert not client.serves_search
    clock.advance(-48 * HOUR)
    assert client.serves_search


async def test_a_search_that_fails_otherwise_is_not_replaced_by_a_dearer_answer() -> None:
    ask = FakeAsk(search=b"<html></html>", agent=agent_body({"stories": []}))
    outcome = await collected("news", ask)
    assert (outcome.state, outcome.reason) == (TaskState.FAILED, Reason.UNREADABLE)
    assert ask.asked == ["search"]


async def test_a_gateway_that_only_chats_is_asked_for_the_models_choice_at_once() -> None:
    ask = FakeAsk(completions=chat_body({"stories": [{"source": 1, "sentiment": "neutral"}]}))
    outcome = await processor("news", api="chat").process(task("news"), {}, APPLE, ask, NOW)
    assert (outcome.kind, ask.asked) == (Kind.MODEL, ["completions"])


async def test_a_story_told_twice_keeps_the_hour_that_only_the_feed_knows() -> None:
    found: NewsData = await said_in("news", search_body(PAGES[0]))
    (item,) = found.items
    told = NewsData(items=(item.model_copy(update={"source": "feeds", "published_at": "2026-10-30T20:31:00Z"}),))
    said = [Contribution("perplexity", Kind.FEED, found), Contribution("feeds", Kind.FEED, told)]
    assert processor("news").merge(said) == told == processor("news").merge(said[::-1])


# Earnings


async def test_a_stated_report_is_kept_with_the_page_it_rests_on() -> None:
    data: EarningsData = await said_in("earnings", agent_body(earnings(row())))
    (report,) = data.reports
    assert (report.period_start, report.period_end) == (dt.date(2026, 6, 28), dt.date(2026, 9, 26))
    figures = (Decimal(102_466_000_000), Decimal(27_466_000_000), Decimal("1.85"))
    assert (report.revenue, report.net_income, report.eps_diluted) == figures
    assert (report.currency, report.filed, report.accession, report.derived) == (
        "USD",
        dt.date(2026, 10, 29),
        None,
        False,
    )
    assert (report.provenance.kind, report.provenance.url) == (Kind.MODEL, "https://news.example/one")
    assert data.next_report is not None
    assert data.next_report.model_dump(mode="json") == {
        "date": "2027-01-28",
        "time": "amc",
        "confirmed": True,
        "source": "https://news.example/two",
    }


async def test_amounts_are_understood_as_they_are_written() -> None:
    stated = row(revenue="$102.466 billion", net_income="27,466,000,000", eps_diluted="1.85")
    assert await said_in("earnings", agent_body(earnings(stated))) == await said_in(
        "earnings", agent_body(earnings(row()))
    )


@pytest.mark.parametrize(
    ("kind", "end", "start"),
    [
        ("quarter", "2026-09-30", "2026-07-01"),
        ("quarter", "2026-05-30", "2026-02-28"),
        ("year", "2026-09-30", "2025-10-01"),
        ("year", "2026-02-28", "2025-03-01"),
    ],
)
async def test_a_first_day_that_is_not_stated_follows_from_the_calendar(kind: str, end: str, start: str) -> None:
    stated = row(kind=kind, period_start=None, period_end=end, eps_diluted=None)
    (report,) = (await said_in("earnings", agent_body(earnings(stated)))).reports
    assert report.period_start.isoformat() == start


async def test_a_day_of_announcement_that_is_not_stated_is_that_of_the_page() -> None:
    (report,) = (await said_in("earnings", agent_body(earnings(row(reported_on=None))))).reports
    assert report.filed == dt.date(2026, 10, 30)


UNBELIEVABLE = {
    "no_source": (row(source=None), "without a source"),
    "invented_source": (row(source=9), "without a source"),
    "address_for_a_source": (row(source="https://news.example/one"), "without a source"),
    "no_figures": (row(revenue=None, net_income="N/A"), "without revenue and net income"),
    "no_currency": (row(currency="$"), "without a period or a currency"),
    "no_period": (row(period_end="last quarter"), "without a period or a currency"),
    "strange_kind": (row(kind="half"), "without a period or a currency"),
    "future": (row(period_start=None, period_end="2026-12-26", reported_on="2027-01-28"), "in the future"),
    "announced_tomorrow": (row(reported_on="2026-11-24"), "in the future"),
    "announced_too_early": (row(reported_on="2026-09-26"), "before its period ended"),
    "announced_on_no_day": (row(reported_on=None, source=2), "announced on no day"),
    "old": (row(period_start="2024-06-30", period_end="2024-09-28"), "too old"),
    "too_long": (row(period_start="2025-12-28"), "not as long as a quarter"),
    "too_short": (row(kind="year"), "not as long as a year"),
    "backwards": (row(period_start="2026-12-01"), "not as long as a quarter"),
    "huge": (row(revenue=1e15), "with absurd figures"),
    "huge_per_share": (row(eps_diluted=1e5), "with absurd figures"),
    "in_millions": (row(revenue=102_466, net_income=27_466), "with absurd figures"),
    "not_a_row": ("quarter", "without a source"),
}


@pytest.mark.parametrize("case", UNBELIEVABLE)
async def test_a_row_that_cannot_be_believed_is_left_out_and_said_why(case: str) -> None:
    stated, wrong = UNBELIEVABLE[case]
    good = row(period_start="2026-03-29", period_end="2026-06-27")
    assert [r.period_end.month for r in (await said_in("earnings", agent_body(earnings(stated, good)))).reports] == [6]
    outcome = await failure_in("earnings", agent_body(earnings(stated)))
    assert outcome.reason is Reason.NO_DATA
    assert "1 " in (outcome.message or "")
    assert wrong in (outcome.message or "")


async def test_a_report_that_is_due_today_is_still_to_come() -> None:
    said = await said_in("earnings", agent_body(earnings(row(), next_report_date="2026-11-23")))
    assert said.next_report is not None
    assert said.next_report.date.isoformat() == "2026-11-23"


@pytest.mark.parametrize(
    "changes",
    [
        {"next_report_date": "2026-11-22"},
        {"next_report_date": "2027-12-01"},
        {"next_report_date": "soon"},
        {"next_report_source": None},
        {"next_report_source": 17},
    ],
)
async def test_a_next_report_needs_a_day_within_a_year_and_a_page(changes: dict[str, Any]) -> None:
    assert (await said_in("earnings", agent_body(earnings(row(), **changes)))).next_report is None


async def test_a_next_report_is_confirmed_only_in_so_many_words() -> None:
    for word in ("yes", 1, None, "true"):
        data = await said_in("earnings", agent_body(earnings(row(), next_report_confirmed=word)))
        assert data.next_report.confirmed is False
    data = await said_in("earnings", agent_body(earnings(row(), next_report_time="noon")))
    assert data.next_report.time == "unknown"


async def test_a_models_calendar_makes_no_second_period_of_one_that_was_filed() -> None:
    """Filed to 26 September; a model may round that to the month, or the quarter of the calendar."""
    data: EarningsData = await said_in("earnings", agent_body(earnings(row())))
    (filed,) = data.reports
    for end in ("2026-09-30", "2026-08-31"):
        stated = await said_in("earnings", agent_body(earnings(row(period_start=None, period_end=end, revenue=70e9))))
        said = [
            Contribution("perplexity", Kind.MODEL, stated),
            Contribution("edgar", Kind.FILING, EarningsData(reports=(filed,))),
        ]
        assert processor("earnings").merge(said).reports == (filed,)


# Fundamentals


async def test_stated_metrics_and_the_analysis_carry_their_pages() -> None:
    stated = fundamentals(
        figure(),
        figure("eps_diluted_ttm", "7.46", "USD per share"),
        figure("gross_margin", 46.9, "percent"),
        figure("net_margin", "26.9%", "%"),
        figure("roe", 1.52, "ratio", source=2),
        figure("shares_diluted", "14.9 billion", "shares"),
    )
    data: FundamentalsData = await said_in("fundamentals", agent_body(stated))
    assert {name: (m.value, m.unit) for name, m in data.metrics.items()} == {
        "cash": (Decimal(35_934_000_000), "USD"),
        "eps_diluted_ttm": (Decimal("7.46"), "USD/share"),
        "gross_margin": (Decimal("0.469"), "ratio"),
        "net_margin": (Decimal("0.269"), "ratio"),
        "roe": (Decimal("1.52"), "ratio"),
        "shares_diluted": (Decimal(14_900_000_000), "shares"),
    }
    assert {m.check for m in data.metrics.values()} == {"unverified"}
    assert data.metrics["roe"].provenance.url == "https://news.example/two"
    assert data.analysis is not None
    assert data.analysis.text == "Apple earns a lot."
    assert data.analysis.sources == ("https://news.example/one", "https://news.example/two")
    assert data.analysis.provenance.kind is Kind.MODEL


@pytest.mark.parametrize(
    "stated",
    [
        figure(value=None),
        figure(value="much"),
        figure(value=1e15),
        figure(value=-1),
        figure(unit="USD millions"),
        figure(unit="ratio"),
        figure(unit=""),
        figure("eps_diluted_ttm", 7.46, "shares"),
        figure("eps_diluted_ttm", 1e5, "USD/share"),
        figure("gross_margin", 46.9, "ratio"),
        figure("gross_margin", 0.469, "USD"),
        figure("debt_to_equity", 134, "ratio"),
        figure("shares_diluted", 14_900, "shares"),
        figure("cash", 35.9),
        figure("net_income_ttm", -93_736),
        figure("total_debt", 1e-30),
        figure("beta", 1.2, "ratio"),
        figure(as_of=None),
        figure(as_of="2026-11-24"),
        figure(as_of="2024-01-01"),
        figure(source=None),
        figure(source=12),
        {"cash": 35_934_000_000},
        [],
    ],
)
async def test_a_metric_that_makes_no_sense_is_left_out(stated: object) -> None:
    data = await said_in("fundamentals", agent_body(fundamentals(stated)))
    assert data.metrics == {}
    assert data.analysis is not None


async def test_an_analysis_that_cites_nothing_is_left_out() -> None:
    data = await said_in("fundamentals", agent_body(fundamentals(figure(), analysis_sources=[44, "x"])))
    assert data.analysis is None
    outcome = await failure_in("fundamentals", agent_body(fundamentals(analysis_sources=[])))
    assert outcome.reason is Reason.NO_DATA


@pytest.mark.parametrize(
    "text",
    [
        "See https://invented.example/path?x=1.",
        "See [the report](https://invented.example/a).",
        "See <http://invented.example>",
        "See www.invented.example/x and invented.example/y",
        "See htt**ps://invented.example/x**",
        "See https:(https://a.example)//invented.example",
        "See javascript://invented.example/%0aalert(1)",
    ],
)
async def test_an_analysis_holds_no_address(text: str) -> None:
    data = await said_in("fundamentals", agent_body(fundamentals(analysis=f"{text} Apple earns 2.5/3 of U.S. profit.")))
    assert data.analysis is not None
    assert "://" not in data.analysis.text
    assert "example/" not in data.analysis.text
    assert "www." not in data.analysis.text
    assert data.analysis.text.endswith("Apple earns 2.5/3 of U.S. profit.")


async def test_an_endless_analysis_is_cut() -> None:
    data = await said_in("fundamentals", agent_body(fundamentals(analysis="word " * 50_000)))
    assert data.analysis is not None
    assert len(data.analysis.text) <= stated_fundamentals.LONGEST_ANALYSIS


async def test_a_filing_wins_over_what_a_model_states() -> None:
    analyzer = processor("fundamentals")
    stated: FundamentalsData = await said_in("fundamentals", agent_body(fundamentals(figure(), figure("equity", 5e9))))
    filed = as_filed(stated.metrics["cash"], Decimal(10**9))
    filing = FundamentalsData(metrics={"cash": filed, "equity": as_filed(filed, None)})
    said = [Contribution("perplexity", Kind.MODEL, stated), Contribution("edgar", Kind.FILING, filing)]
    merged = analyzer.merge(said)
    assert merged.metrics == {"cash": filed, "equity": stated.metrics["equity"]}
    assert merged.analysis == stated.analysis


async def test_a_models_figures_in_another_currency_or_unit_do_not_stand_among_those_of_a_filing() -> None:
    stated: FundamentalsData = await said_in(
        "fundamentals",
        agent_body(fundamentals(figure("equity", 5e6, "EUR"), figure("cash", 6e6, "EUR"), figure("roe", 0.5, "ratio"))),
    )
    filed = as_filed(stated.metrics["cash"], Decimal(1)).model_copy(update={"unit": "USD"})
    shares = as_filed(filed, None).model_copy(update={"unit": "shares"})
    filing = FundamentalsData(metrics={"total_debt": filed, "cash": shares})
    said = [Contribution("perplexity", Kind.MODEL, stated), Contribution("edgar", Kind.FILING, filing)]
    merged = processor("fundamentals").merge(said)
    assert merged.metrics == {"total_debt": filed, "cash": shares, "roe": stated.metrics["roe"]}


def as_filed(metric: Metric, value: Decimal | None) -> Metric:
    origin = metric.provenance.model_copy(update={"kind": Kind.FILING, "source": "edgar"})
    return metric.model_copy(update={"value": value, "check": "filing", "provenance": origin})


# What people see


async def test_what_a_model_stated_is_not_shown_as_if_it_were_filed(capsys: pytest.CaptureFixture[str]) -> None:
    data: EarningsData = await said_in("earnings", agent_body(earnings(row())))
    (stated,) = data.reports
    origin = stated.provenance.model_copy(update={"accession": "0000320193-26-000001", "source": "edgar"})
    before = {"period_end": dt.date(2025, 9, 27), "provenance": origin, "currency": "EUR", "fiscal_label": "FY2025 Q4"}
    print_data(EarningsData(reports=(stated, stated.model_copy(update=before))), whole=True)
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert "-†" in next(line for line in lines if "2026-09-26" in line)
    filed = next(line for line in lines if "2025-09-27" in line)
    assert "†" not in filed
    assert "102.47 B EUR" in filed
    assert "† not from a filing: stated by perplexity, unverified" in lines
    print_data(await said_in("fundamentals", agent_body(fundamentals(figure()))), whole=True)
    shown = capsys.readouterr().out
    assert "unverified" in next(line for line in shown.splitlines() if "cash" in line)
    assert "Analysis by perplexity, 2026-11-23, unverified:\nApple earns a lot." in shown


# Bad models


GOOD = {"news": {"stories": []}, "earnings": earnings(row()), "fundamentals": fundamentals(figure())}


def answered(domain: str, body: bytes) -> FakeAsk:
    return FakeAsk(agent=body, search=NotFound("gone", Reason.NO_DATA))


@pytest.mark.parametrize("domain", GOOD)
@pytest.mark.parametrize(
    "wrapped", ["```json\n{}\n```", "<think>It may be {{}}.</think>{}", "Here you are: {} Ask me more!", "\ufeff{}"]
)
async def test_json_is_found_in_what_is_wrapped_around_it(domain: str, wrapped: str) -> None:
    text = wrapped.replace("{{}}", "@").replace("{}", orjson.dumps(GOOD[domain]).decode()).replace("@", "{}")
    outcome = await collected(domain, answered(domain, agent_body(text)))
    plain = await collected(domain, answered(domain, agent_body(GOOD[domain])))
    assert outcome == plain
    assert outcome.state is TaskState.COMPLETED


@pytest.mark.parametrize("domain", GOOD)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (agent_body("I could not find anything about it."), Reason.UNREADABLE),
        (agent_body('{"ticker": "AAPL", "stories": [{"source": 1'), Reason.TRUNCATED),
        (agent_body({}, status="incomplete", incomplete_details={"reason": "max_output_tokens"}), Reason.TRUNCATED),
        (agent_body({}, pages=[]), Reason.UNGROUNDED),
        (agent_body('{"ticker": "AAPL", "stories": NaN, "reports": NaN, "metrics": NaN}'), Reason.UNREADABLE),
        (agent_body("[1, 2, 3]"), Reason.UNREADABLE),
        (b"<html></html>", Reason.UNREADABLE),
    ],
)
async def test_a_broken_answer_fails_with_its_reason(domain: str, body: bytes, reason: Reason) -> None:
    outcome = await collected(domain, answered(domain, body))
    assert (outcome.state, outcome.reason, outcome.contribution) == (TaskState.FAILED, reason, None)


@pytest.mark.parametrize("domain", ["earnings", "fundamentals"])
async def test_another_companys_answer_is_refused(domain: str) -> None:
    stated = {**GOOD[domain], "ticker": "NVDA", "company": "NVIDIA\x1b[31m\nCorporation"}
    outcome = await failure_in(domain, agent_body(stated))
    assert outcome.reason is Reason.WRONG_COMPANY
    assert "Apple Inc. (ticker AAPL)" in (outcome.message or "")
    assert "\n" not in (outcome.message or "")


@pytest.mark.parametrize("domain", ["earnings", "fundamentals"])
@pytest.mark.parametrize("renamed", [{"symbol": "AAPL", "data": []}, {"ticker": None, "company": None}, {}])
async def test_an_answer_about_nobody_holds_nothing(domain: str, renamed: dict[str, Any]) -> None:
    assert (await failure_in(domain, agent_body(renamed))).reason is Reason.NO_DATA


@pytest.mark.parametrize("domain", GOOD)
async def test_fields_nobody_asked_for_are_not_taken(domain: str) -> None:
    more = {**GOOD[domain], "advice": "buy", "metrics_2": [1], "url": "https://invented.example"}
    outcome = await collected(domain, answered(domain, agent_body(more)))
    assert outcome == await collected(domain, answered(domain, agent_body(GOOD[domain])))


LIKELY = [
    "AAPL",
    "Apple",
    "USD",
    "USD/share",
    "ratio",
    "2026-09-26",
    "2026-10-29",
    "quarter",
    "1.2B",
    "cash",
    "roe",
    "\ud800",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.integers(0, 4)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(LIKELY)
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
)


def near(good: Any) -> st.SearchStrategy[Any]:
    """What is asked for, with some of it replaced by anything or missing."""
    if isinstance(good, dict):
        shape = st.fixed_dictionaries({}, optional={name: near(value) for name, value in good.items()})
        return shape | shape.map(lambda made: {**good, **made}) | ANYTHING
    if isinstance(good, list):
        return st.lists(st.one_of([near(inner) for inner in good] or [ANYTHING]), max_size=4) | ANYTHING
    return st.just(good) | st.just(good) | SCALARS


GENEROUS: dict[str, dict[str, Any]] = {
    "news": {"stories": [{"source": 1, "sentiment": "positive"}]},
    "earnings": earnings(row(), row(kind="year", period_start=None)),
    "fundamentals": fundamentals(figure(), figure("roe", 1.2, "ratio"), figure("eps_diluted_ttm", 7.1, "USD/share")),
}
STOCK = Stock("AAPL", "Apple Inc.")


def read_whole(domain: str, body: bytes) -> Record:
    """Body to record, as the sources do it."""

    def answer(value: T) -> Answer[T]:
        return Answer(value, "7", "https://api.example/v1/agent", NOW, sandbox=False, asked=True)

    if domain == "earnings":
        stated = stated_earnings.read_stated_earnings(body, STOCK)
        return stated_earnings.earnings_from_stated(answer(stated), "perplexity", STOCK)
    if domain == "fundamentals":
        figures = stated_fundamentals.read_stated_fundamentals(body, STOCK)
        return stated_fundamentals.fundamentals_from_stated(answer(figures), "perplexity", STOCK)
    stories = answer(news_search.read_choice(body))
    return news_of(news_search.items_from_search(stories, "perplexity", "AAPL", STOCK, Kind.MODEL))


def read_or_refused(domain: str, body: bytes) -> Record | ParseError:
    try:
        return read_whole(domain, body)
    except ParseError as error:
        return error


@pytest.mark.parametrize("domain", GENEROUS)
@given(data=st.data())
def test_whatever_object_a_model_writes_becomes_a_sound_record_or_a_parse_error(
    domain: str, data: st.DataObject
) -> None:
    stated = data.draw(near(GENEROUS[domain]).filter(lambda value: isinstance(value, dict)))
    body = agent_body(json.dumps(stated))
    record = read_or_refused(domain, body)
    if isinstance(record, ParseError):
        assert record.reason in (Reason.NO_DATA, Reason.WRONG_COMPANY, Reason.UNREADABLE)
        assert str(record).isprintable()
        return
    written = record.model_dump_json().encode()
    again = processor(domain).read(written)
    assert again.model_dump_json().encode() == written
    for value in _leaves(json.loads(written)):
        assert not isinstance(value, float) or math.isfinite(value)
        assert not isinstance(value, str) or "://" not in value or value in {page["url"] for page in PAGES}


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    else:
        yield value


CHANGES: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    "removed": lambda row, name: {key: value for key, value in row.items() if key != name},
    "renamed": lambda row, name: {f"{key}_x" if key == name else key: value for key, value in row.items()},
    "as text": lambda row, name: row | {name: str(row[name])},
    "in a list": lambda row, name: row | {name: [row[name]]},
    "in an object": lambda row, name: row | {name: {"value": row[name]}},
    "a flag": lambda row, name: row | {name: True},
    "a share": lambda row, name: row | {name: f"{row[name]}%"},
    "unknown": lambda row, name: row | {name: "N/A"},
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_row_never_gives_another_number_only_fewer(change: str) -> None:
    def numbers(data: EarningsData) -> set[Decimal | None]:
        return {value for r in data.reports for value in (r.revenue, r.net_income, r.eps_diluted)}

    whole = row()
    expected = numbers(await said_in("earnings", agent_body(earnings(whole))))
    for name in whole:
        outcome = await collected("earnings", FakeAsk(agent=agent_body(earnings(CHANGES[change](whole, name)))))
        if outcome.contribution is not None:
            assert numbers(processor("earnings").read(outcome.contribution)) <= expected | {None}, name
    assert numbers(await said_in("earnings", agent_body(earnings(whole, whole)))) == expected
