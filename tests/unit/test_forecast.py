"""When a budget is used up at this rate, and who is skipped then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from scheduler_service.cli.configuration import read, source_providers
from scheduler_service.clock import DAY, HOUR, MINUTE, from_iso, to_iso_seconds
from scheduler_service.forecast import Forecast, Known, forecasts, in_words
from scheduler_service.models import StockState
from scheduler_service.settings.load import Found
from scheduler_service.stores.call_store import Spend
from scheduler_service.stores.spending import Usual, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = from_iso("2026-11-23T14:30:00Z")
NEW_YORK = "America/New_York"
FETCHED_LONG_AGO = {
    (symbol, domain, "perplexity"): StockState(checked_for=NOW - 30 * DAY, checked_at=NOW - 30 * DAY)
    for symbol in ("AAPL", "NVDA")
    for domain in ("news", "fundamentals")
}
CONFIG = """\
watchlist: [AAPL, NVDA]
providers:
  perplexity: {{budget: {{{budget}}}}}
domains:
  news: {{sources: [{{use: perplexity, fresh_for: 1h}}]}}
  fundamentals: {{sources: [{{use: perplexity, fresh_for: 1h}}]}}
schedules:
  - {{id: news, domain: news, trigger: {{every: 1h}}, priority: {priority}}}
  - {{id: fund, domain: fundamentals, trigger: {{every: {every}}}, symbols: {symbols}}}
"""


@pytest.fixture
def foresee(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Forecast]:
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-one")

    def foresee(
        budget: str,
        known: Known | None = None,
        *,
        priority: str = "normal",
        every: str = "2h",
        symbols: str = "all",
        now: int = NOW,
        fetched_before: bool = True,
    ) -> Forecast:
        path = tmp_path / "c.yaml"
        path.write_text(CONFIG.format(budget=budget, priority=priority, every=every, symbols=symbols))
        known = known or Known()
        if fetched_before:
            known = replace(known, states={**FETCHED_LONG_AGO, **known.states})
        (one,) = forecasts(read(Found((path,), "")), source_providers(), known, now)
        return one

    return foresee


def spent(calls: int = 0, usd_micros: int = 0, tokens: int = 0) -> dict[str, dict[str, Spend]]:
    return {"perplexity": {"2026-11-23": Spend(calls, usd_micros, tokens)}}


def test_a_budget_that_lasts_says_how_many_calls_are_to_come(foresee: Callable[..., Forecast]) -> None:
    found = foresee("usd_per_day: 10")
    assert (found.exhausted_at, found.skipped, found.kept) == (None, {}, {})
    assert found.calls == {"news": 24 * 2, "fundamentals": 12 * 2}
    assert found.until == NOW + DAY
    assert in_words(found, NOW, NEW_YORK) == "at this rate it lasts: 72 calls to come until Tue 24 Nov 09:30 EST"


def test_without_a_limit_there_is_nothing_to_foresee(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "watchlist: [A]\nproviders: {feeds: {urls: ['https://a.example/{symbol}']}}\n"
        "domains: {news: {sources: [feeds]}}\nschedules: [{id: n, domain: news, trigger: {every: 1h}}]\n"
    )
    assert forecasts(read(Found((path,), "")), source_providers(), Known(), NOW) == []


def test_high_priority_keeps_what_others_are_skipped_for(foresee: Callable[..., Forecast]) -> None:
    """A search costs half a cent, an answer two: at 21:00 UTC what is left of 30 cents belongs to the news."""
    found = foresee("usd_per_day: 0.30, reserve: 30%", priority="high")
    assert to_iso_seconds(found.exhausted_at or 0) == "2026-11-23T21:00:00Z"
    assert (found.skipped, found.kept) == ({"fundamentals": 1 + 2}, {"news": 2 + 2})
    assert in_words(found, NOW, NEW_YORK) == (
        "at this rate exhausted at 16:00 EST (0.30 USD a day); "
        "until 19:00 EST it would skip 3 calls for fundamentals, keep 4 calls for news"
    )


def test_what_is_spent_already_counts(foresee: Callable[..., Forecast]) -> None:
    found = foresee("calls_per_day: 100, reserve: 0%", Known(spent=spent(calls=100)))
    assert found.exhausted_at == NOW, "nothing is left"
    assert found.skipped == {"news": 9 * 2, "fundamentals": 5 * 2}, "until midnight, when there are 100 again"


def test_what_is_used_up_already_is_told_as_such(foresee: Callable[..., Forecast]) -> None:
    waiting = (Waiting("AAPL", "news", "perplexity", urgent=False),)
    found = foresee("calls_per_day: 5", Known(spent=spent(calls=5), waiting=waiting))
    assert found.exhausted_at == NOW
    assert in_words(found, NOW, NEW_YORK).startswith("exhausted (5 calls a day); until 19:00 EST it would skip")


def test_what_is_fresh_is_not_asked_for_and_one_clock_that_was_wrong_says_nothing(
    foresee: Callable[..., Forecast],
) -> None:
    checked = {("AAPL", "fundamentals", "perplexity"): StockState(checked_for=NOW, checked_at=NOW)}
    ahead = {("NVDA", "fundamentals", "perplexity"): StockState(checked_for=NOW + DAY, checked_at=NOW + DAY)}
    found = foresee("usd_per_day: 10", Known(states={**checked, **ahead}), every="30m")
    assert found.calls["fundamentals"] == 24 + 24
    later = foresee("usd_per_day: 10", Known(states=checked), every="24h", now=NOW + 4 * HOUR)
    assert later.calls["fundamentals"] == 2


def test_tasks_that_wait_ask_before_the_next_slot(foresee: Callable[..., Forecast]) -> None:
    waiting = tuple(Waiting(name, "fundamentals", "perplexity", urgent=name == "AAPL") for name in ("AAPL", "NVDA"))
    found = foresee("calls_per_day: 2, reserve: 50%", Known(waiting=waiting), symbols="[AAPL, NVDA]")
    assert found.exhausted_at == NOW
    assert found.kept == {}, "the urgent one goes first, and takes what is for all"
    assert found.calls == {"news": 48, "fundamentals": 2 * (1 + 11)}, "the slot half an hour later finds them fresh"


def test_what_fetches_took_lately_tells_better_than_the_estimate(foresee: Callable[..., Forecast]) -> None:
    cheap = {("news", "perplexity"): Usual(990, 490, 490_000, 0)}
    found = foresee("usd_per_day: 10", Known(usual=cheap))
    assert found.calls == {"news": 24, "fundamentals": 12 * 2}, "half of the news was served from a kept answer"
    dear = {("news", "perplexity"): Usual(1_000, 1_000, 500_000_000, 0)}
    assert foresee("usd_per_day: 1.4, reserve: 0%").exhausted_at is None
    found = foresee("usd_per_day: 1.4, reserve: 0%", Known(usual=dear))
    assert found.exhausted_at == from_iso("2026-11-23T16:00:00Z")


def test_a_few_fetches_tell_little(foresee: Callable[..., Forecast]) -> None:
    """The first three were served from kept answers: that does not mean that nothing will be asked."""
    found = foresee("usd_per_day: 10", Known(usual={("news", "perplexity"): Usual(3, 0, 0, 0)}))
    assert found.calls["news"] == pytest.approx(48 * 10 / 13, abs=1)
    once_dear = {("news", "perplexity"): Usual(1, 1, 100_000, 0)}
    assert foresee("usd_per_day: 1.4, reserve: 0%", Known(usual=once_dear)).exhausted_at is None


def test_what_was_never_fetched_is_fetched_at_the_start(foresee: Callable[..., Forecast]) -> None:
    before = foresee("usd_per_day: 10", every="24h")
    first = foresee("usd_per_day: 10", every="24h", fetched_before=False)
    assert (before.calls["fundamentals"], first.calls["fundamentals"]) == (2, 2 * (1 + 1))
    assert foresee("calls_per_day: 1", fetched_before=False).exhausted_at == NOW


def test_slots_that_kept_answers_serve_ask_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-one")
    path = tmp_path / "c.yaml"
    path.write_text(
        "watchlist: [AAPL]\nproviders: {perplexity: {}}\n"
        "domains: {fundamentals: {sources: [{use: perplexity, fresh_for: 5m}]}}\n"
        "schedules: [{id: f, domain: fundamentals, trigger: {every: 10m}}]\n"
    )
    known = Known(states={("AAPL", "fundamentals", "perplexity"): StockState(checked_for=NOW, checked_at=NOW)})
    (found,) = forecasts(read(Found((path,), "")), source_providers(), known, NOW)
    assert found.calls["fundamentals"] == pytest.approx(24, abs=1), "an answer is kept for the better part of an hour"


def test_a_month_is_looked_at_to_its_end(foresee: Callable[..., Forecast]) -> None:
    found = foresee("usd_per_day: null, usd_per_month: 3, reserve: 0%")
    assert to_iso_seconds(found.until) == "2026-12-01T00:00:00Z"
    assert to_iso_seconds(found.exhausted_at or 0) == "2026-11-27T19:00:00Z"
    assert in_words(found, NOW, NEW_YORK).startswith(
        "at this rate exhausted at Fri 27 Nov 14:00 EST (3.00 USD a month)"
    )


def test_a_day_begins_with_a_budget_of_its_own(foresee: Callable[..., Forecast]) -> None:
    late = from_iso("2026-11-23T23:10:00Z")
    found = foresee("calls_per_day: 50, reserve: 0%", Known(spent=spent(calls=49)), now=late)
    assert to_iso_seconds(found.exhausted_at or 0) == "2026-11-24T17:00:00Z"


def test_the_stalest_few_take_their_share(foresee: Callable[..., Forecast]) -> None:
    found = foresee("usd_per_day: 10", symbols="{stalest: 1}", every="1h")
    assert found.calls["fundamentals"] == 24


def test_a_long_watchlist_is_foreseen_in_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-one")
    path = tmp_path / "c.yaml"
    names = ", ".join(f"S{n}" for n in range(2_000))
    path.write_text(
        f"watchlist: [{names}]\nproviders: {{perplexity: {{budget: {{usd_per_month: 500}}}}}}\n"
        "domains: {news: {sources: [{use: perplexity, fresh_for: 20m}]}}\n"
        "schedules: [{id: n, domain: news, trigger: {every: 30m}}]\n"
    )
    scattered = {(f"S{n}", "news", "perplexity"): StockState(checked_for=NOW - n * MINUTE) for n in range(2_000)}
    (found,) = forecasts(read(Found((path,), "")), source_providers(), Known(states=scattered), NOW)
    assert found.calls["news"] == pytest.approx(2_000 * 24 * 7.4, rel=0.02), "an answer serves two slots"


def test_what_ages_in_sessions_alone_is_asked_in_them_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("""
watchlist: [AAPL, {symbol: "7203", exchange: XTKS}]
providers: {sandbox: {enabled: true}, finnhub: {budget: {calls_per_day: 5000}}}
domains: {quotes: {sources: [{use: finnhub, fresh_for: 5m}]}}
schedules: [{id: q, domain: quotes, trigger: {every: 5m}}]
""")
    (found,) = forecasts(read(Found((path,), "")), source_providers(), Known(), NOW)
    assert found.calls["quotes"] == pytest.approx(6.5 * 12 + 5.5 * 12, abs=4), "Tokyo rests for an hour at noon"
