from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler_service.cli.configuration import read, source_providers
from scheduler_service.first_fetch import FirstFetch, catch_up_in_words, in_words, plan, tried
from scheduler_service.models import Reason, StockState
from scheduler_service.settings.load import Found

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.settings.loaded import Settings

CONFIG = """\
watchlist: [AAPL, NVDA, SNOW]
providers:
  edgar: {user_agent: Jane Doe jane.doe@example.com, requests_per_second: 5}
  feeds: {urls: ["https://a.example/{symbol}"], companies: {AAPL: ["https://b.example/apple"]}, requests_per_minute: 60}
  perplexity: {requests_per_minute: 30, budget: {usd_per_day: 1.0, calls_per_day: 10}}
domains:
  news: {sources: [feeds, edgar_filings, perplexity]}
  earnings: {sources: [edgar, {use: perplexity, when: missing}]}
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-one")
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return read(Found((path,), ""))


def test_it_counts_what_each_provider_will_be_asked(settings: Settings) -> None:
    price = settings.providers["perplexity"].usd_per_call
    counts = {("news", "feeds"): 3, ("news", "edgar_filings"): 3, ("earnings", "edgar"): 2, ("news", "perplexity"): 3}
    assert plan(settings, source_providers(), counts) == (
        FirstFetch("edgar", 5, 1.0, 0.0, None),
        FirstFetch("feeds", 4, 4.0, 0.0, None),
        FirstFetch("perplexity", 3, 6.0, 3 * price, 1.0, 10, reserve=0.2),
    )


def test_what_is_asked_only_when_missing_or_is_off_or_not_lacking_is_left_out(settings: Settings) -> None:
    counts = {("earnings", "perplexity"): 3, ("earnings", "edgar"): 0, ("fundamentals", "edgar"): 3}
    assert plan(settings, source_providers(), counts) == ()


def test_what_was_fetched_or_asked_in_vain_or_is_not_missing_needs_no_first_fetch() -> None:
    states = {
        ("A", "d", "filed"): StockState(checked_at=1, status="ok"),
        ("B", "d", "filed"): StockState(status="failed", reason=Reason.NO_DATA, failures=1),
        ("C", "d", "filed"): StockState(status="failed", reason=Reason.PROVIDER_DOWN, failures=1),
        ("D", "d", "filed"): StockState(status="failed", reason=Reason.POISON, failures=1),
        ("E", "d", "told"): StockState(checked_at=1, status="failed", reason=Reason.TIMEOUT, failures=1),
    }
    done = {("A", "filed"), ("B", "filed"), ("D", "filed"), ("E", "told")}
    assert tried(states, ["filed"], ["told"]) == done | {("A", "told")}
    assert tried(states, ["filed", "told"], []) == done


def test_a_provider_without_a_key_is_left_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERPLEXITY_API_KEY")
    keyless = read(Found(settings.files, ""))
    assert plan(keyless, source_providers(), {("news", "perplexity"): 3}) == ()


def test_the_sandbox_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "watchlist: [A]\nproviders: {sandbox: {enabled: true}}\ndomains: {news: {sources: [perplexity, feeds]}}\n"
    )
    plans = plan(read(Found((path,), "")), source_providers(), {("news", "perplexity"): 50, ("news", "feeds"): 50})
    assert [(one.provider, one.calls, one.usd) for one in plans] == [("feeds", 50, 0.0), ("perplexity", 50, 0.0)]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (FirstFetch("edgar", 1, 0.0, 0.0, None), "edgar: 1 call, 1 s or more"),
        (FirstFetch("edgar", 1_500, 300.0, 0.0, None), "edgar: 1,500 calls, 5 min or more"),
        (FirstFetch("p", 9, 40_000.0, 0.0, None, 9), "p: 9 calls, 12 h or more"),
        (
            FirstFetch("p", 120, 144.0, 2.4, 1.0),
            "p: 120 calls, 3 min or more, at most about $2.40 of a budget of $1.00 a day: "
            "it takes the budget of 3 days",
        ),
        (
            FirstFetch("p", 8, 1.0, 0.0, None, 10, reserve=0.25),
            "p: 8 calls, 1 s or more: it takes the budget of 2 days",
        ),
        (FirstFetch("p", 21, 1.0, 0.0, None, 10), "p: 21 calls, 1 s or more: it takes the budget of 3 days"),
        (FirstFetch("p", 2, 1.0, 0.004, None), "p: 2 calls, 1 s or more, at most about $0.0040"),
        (
            FirstFetch("p", 2, 1.0, 0.4, 0.0),
            "p: 2 calls, 1 s or more, at most about $0.40 of a budget of $0.00 a day: its budget allows none of them",
        ),
    ],
)
def test_in_words_it_says_how_many_how_long_and_how_much(one: FirstFetch, words: str) -> None:
    assert in_words([one]) == [words]


def test_nothing_to_fetch_is_not_worth_a_word() -> None:
    assert in_words([FirstFetch("edgar", 0, 0.0, 0.0, None)]) == []


def test_a_catch_up_is_told_in_one_line() -> None:
    plans = [FirstFetch("edgar", 12, 40.0, 0.0, None), FirstFetch("feeds", 3, 3.0, 0.0, None)]
    assert catch_up_in_words(65, 12, plans) == "missed 65 slots, 12 fetches, about 40 s"
    assert catch_up_in_words(1, 1, plans[1:]) == "missed 1 slot, 1 fetch, about 3 s"
    assert catch_up_in_words(1200, 0, []) == "missed 1,200 slots, 0 fetches"
