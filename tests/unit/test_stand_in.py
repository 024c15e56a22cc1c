"""The sandbox at the addresses of a live configuration."""

from __future__ import annotations

import pytest

from scheduler_service.calls import FREE, Limits, Request
from scheduler_service.clients.edgar_client import EdgarClient
from scheduler_service.clients.feed_client import FeedClient
from scheduler_service.clients.perplexity_client import PerplexityClient
from scheduler_service.clock import HOUR
from scheduler_service.errors import TransientClientError
from scheduler_service.sandbox.bundle import bundled, with_stand_ins
from scheduler_service.sandbox.stand_in import StandIn
from scheduler_service.sandbox.upstream import SandboxUpstream
from tests.virtual_time import VirtualClock, run

FEEDS = FeedClient.Options(
    urls=("https://feeds.test/rss?s={symbol}&for={symbol}", "https://all.test/news.xml"),
    companies={"NVDA": ("https://nvidia.test/releases.xml",)},
)
OPTIONS = {
    "edgar": EdgarClient.Options(user_agent="Jane Doe jane.doe@example.com"),
    "feeds": FEEDS,
    "perplexity": PerplexityClient.Options(base_url="http://127.0.0.1:9/v0"),
}


async def asked(clock: VirtualClock, url: str) -> tuple[int, str]:
    stand_in = StandIn(SandboxUpstream(clock, companies=with_stand_ins({"MSFT": "Microsoft"})), clock, OPTIONS)
    headers = (("User-Agent", "Jane Doe jane.doe@example.com"), ("Authorization", "Bearer sandbox"))
    response = await stand_in.send(Request(url, headers=headers), Limits(5_000_000, 10.0))
    assert response.url == url
    return response.status, next(name for name, times in stand_in.asked.items() if times)


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://data.sec.gov/submissions/CIK0000320193.json", "edgar"),
        ("https://www.sec.gov/files/company_tickers.json", "edgar"),
        ("https://feeds.test/rss?s=MSFT&for=MSFT", "feeds"),
        ("https://all.test/news.xml", "feeds"),
        ("https://nvidia.test/releases.xml", "feeds"),
        ("http://127.0.0.1:9/v0/v1/models", "perplexity"),
        ("https://sandbox.invalid/feeds/AAPL.rss", "feeds"),
    ],
)
def test_it_answers_at_every_address_that_a_configuration_names(url: str, provider: str) -> None:
    assert run(lambda clock: asked(clock, url)) == (200, provider)


@pytest.mark.parametrize("url", ["https://feeds.test/rss?s=MSFT&for=AAPL", "https://elsewhere.test/news.xml"])
def test_nothing_else_can_be_reached(url: str) -> None:
    with pytest.raises(TransientClientError, match="the sandbox is all there is"):
        run(lambda clock: asked(clock, url))


def test_nobody_can_connect_during_an_outage_and_nothing_is_charged_for_the_try() -> None:
    async def story(clock: VirtualClock) -> list[object]:
        stand_in = StandIn(SandboxUpstream(clock), clock, OPTIONS)
        stand_in.cut_off("feeds", HOUR)
        seen: list[object] = []
        for _ in range(3):
            try:
                seen.append((await stand_in.send(Request("https://all.test/news.xml"), Limits(5_000_000, 10.0))).status)
            except TransientClientError as error:
                seen.append(error.cost)
            await clock.sleep(1800)
        assert len(stand_in.asked["feeds"]) == 3
        return seen

    assert run(story) == [FREE, FREE, 200]


def test_a_stock_that_the_sandbox_does_not_know_has_an_invented_company_of_its_own() -> None:
    companies = with_stand_ins({"MSFT": "Microsoft", "ZZ": "Zz Inc", "AAPL": "not this one"})
    assert companies[: len(bundled())] == bundled()
    added = companies[len(bundled()) :]
    assert [company.profile.symbol for company in added] == ["MSFT", "ZZ"]
    assert len({company.profile.cik for company in companies}) == len(companies)
    assert all(company.filings and company.facts for company in added)
