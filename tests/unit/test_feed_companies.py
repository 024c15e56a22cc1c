from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clients.feed_client import FeedClient
from scheduler_service.clients.perplexity_client import PerplexityClient
from scheduler_service.clock import HOUR
from scheduler_service.errors import ConfigurationError, PermanentClientError
from scheduler_service.models import StockState, Symbol
from scheduler_service.processors.base import SourcePolicy
from scheduler_service.processors.news_processor import Feeds, NewsProcessor
from scheduler_service.settings.load import load
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scheduler_service.calls import Answer, Resource
    from scheduler_service.settings.loaded import Settings


def loaded(folder: Path, feeds: str, sandbox: str = "") -> Settings:
    path = folder / "c.yaml"
    path.write_text(
        f"watchlist: [AAPL, BRK.B]\nproviders: {{{sandbox} feeds: {feeds}}}\ndomains: {{news: {{sources: [feeds]}}}}\n"
    )
    return load([path], {}, providers={"feeds": FeedClient.Options}, sources={"news": {"feeds": "feeds"}}, cwd=folder)


def asked(settings: Settings, symbol: str) -> list[str]:
    options = settings.providers["feeds"]
    assert isinstance(options, FeedClient.Options)
    return [resource.request.url for resource in FeedClient(options, FakeClock()).feeds(Symbol(symbol))]


def test_a_company_s_own_feeds_are_asked_for_its_symbol_beside_the_templates(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        '{urls: ["https://x.example/{symbol}"], companies: {aapl: "https://a.example/news", '
        'BRK.B: ["https://b.example/1", "https://b.example/2"]}}',
    )
    assert settings.warnings == ()
    assert asked(settings, "AAPL") == ["https://x.example/AAPL", "https://a.example/news"]
    assert asked(settings, "BRK.B") == ["https://x.example/BRK.B", "https://b.example/1", "https://b.example/2"]
    assert asked(settings, "NVDA") == ["https://x.example/NVDA"]
    options = settings.providers["feeds"]
    assert [options.calls_for(Symbol(name)) for name in ("AAPL", "BRK.B", "NVDA")] == [2, 3, 1]
    assert options.addresses() == {
        "urls[0]": "https://x.example/{symbol}",
        "companies.AAPL[0]": "https://a.example/news",
        "companies.BRK.B[0]": "https://b.example/1",
        "companies.BRK.B[1]": "https://b.example/2",
    }


async def test_a_company_without_a_feed_of_its_own_has_no_news_and_is_no_failure(tmp_path: Path) -> None:
    async def ask(resource: Resource, parse: Callable[[bytes], Any]) -> Answer[Any]:
        raise AssertionError(resource.request.url)

    options = loaded(tmp_path, '{companies: {AAPL: ["https://a.example"]}}').providers["feeds"]
    assert isinstance(options, FeedClient.Options)
    said = await Feeds(FeedClient(options, FakeClock())).collect(ask, StockState(), Symbol("BRK.B"))
    assert said.data.items == ()
    with pytest.raises(PermanentClientError, match="names no feed"):
        await Feeds(FeedClient(FeedClient.Options(), FakeClock())).collect(ask, StockState(), Symbol("BRK.B"))


def test_a_company_without_a_feed_needs_none_to_be_fresh(tmp_path: Path) -> None:
    options = loaded(tmp_path, '{companies: {AAPL: ["https://a.example"]}}').providers["feeds"]
    assert isinstance(options, FeedClient.Options)
    policies = [SourcePolicy("feeds", HOUR), SourcePolicy("perplexity", HOUR)]
    model = PerplexityClient(PerplexityClient.Options(), FakeClock())
    news = NewsProcessor({"feeds": FeedClient(options, FakeClock()), "perplexity": model}, policies)
    assert news.required_of(Symbol("AAPL")) == ("feeds", "perplexity")
    assert news.required_of(Symbol("BRK.B")) == ("perplexity",)


def test_one_company_feed_is_address_enough_for_the_sandbox_to_step_back(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '{companies: {AAPL: ["https://a.example"]}}', "sandbox: {enabled: true},")
    assert not settings.uses_sandbox("feeds")
    assert loaded(tmp_path, "{companies: {AAPL: []}}", "sandbox: {enabled: true},").uses_sandbox("feeds")


def test_a_company_that_nobody_watches_is_told(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '{companies: {AAPL: ["https://a.example"], NVDA: ["https://n.example"]}}')
    assert [warning.rpartition("c.yaml:")[2] for warning in settings.warnings] == [
        "2:69 providers.feeds.companies.NVDA: NVDA is not on the watchlist, so this is not used"
    ]


@pytest.mark.parametrize(
    ("companies", "wrong"),
    [
        ('{AAPL: ["ftp://a.example"]}', "AAPL: a feed URL starts with http:// or https:// and names a host"),
        ('{AAPL: ["https://a.example/{cik}"]}', "AAPL: {symbol} is the only placeholder a feed URL may have"),
        ('{"A B": ["https://a.example"]}', "a symbol has 1 to 64 visible characters without spaces"),
        ('{AAPL: ["https://a.example"], aapl: ["https://b.example"]}', "a symbol stands here twice; keep one"),
        ("{AAPL: [5]}", "text is needed, not"),
        ("[https://a.example]", "settings as `key: value` are needed"),
        ('{AAPL: ["https://me:SEKRIT@a.example"]}', "an address must not hold a user name or password"),
    ],
)
def test_a_company_feed_is_checked_like_the_templates(tmp_path: Path, companies: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"providers\.feeds\.companies") as caught:
        loaded(tmp_path, f"{{companies: {companies}}}")
    assert wrong in str(caught.value)
    assert "SEKRIT" not in str(caught.value)
