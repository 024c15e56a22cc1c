"""What ``check`` estimates is what a simulation of the same configuration counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler_service.cli.configuration import source_providers
from scheduler_service.clients.base import discover
from scheduler_service.clock import DAY, from_iso
from scheduler_service.estimate import estimate
from scheduler_service.settings.load import load
from scheduler_service.simulation import Plan, simulate

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.settings.loaded import Settings

START = from_iso("2026-11-23T05:00:00Z")
HEAD = """
service: {data_dir: data}
watchlist: [AAPL, {symbol: NVDA, tags: [chips]}]
providers:
  edgar: {user_agent: "Jane Doe jane.doe@example.com"}
  perplexity: {api_keys: [pplx-a-key-of-the-user-0123456789], budget: {usd_per_day: 50}}
  feeds: {urls: ["https://feeds.test/all.rss", "https://feeds.test/{symbol}.rss"]}
  finnhub: {api_keys: [a-key-of-the-user-0123456789]}
  quotes_file: {path: quotes.csv}
"""
SHARED = """
domains:
  earnings: {sources: [{use: edgar, fresh_for: 1h}, {use: perplexity, fresh_for: 1h, when: missing}]}
  fundamentals: {sources: [{use: edgar, fresh_for: 1h}, {use: perplexity, fresh_for: 6h}]}
schedules:
  - {id: e, domain: earnings, trigger: {every: 1h}}
  - {id: f, domain: fundamentals, symbols: {tags: [chips]}, trigger: {every: 1h}}
  - {id: g, domain: fundamentals, symbols: [AAPL], trigger: {every: 3h}}
"""
KEPT = """
domains:
  news: {sources: [{use: edgar_filings, fresh_for: 1m}, {use: feeds, fresh_for: 1m}, {use: perplexity, fresh_for: 5m}]}
schedules: [{id: n, domain: news, trigger: {every: 3m}, during: {hours: "08:00-12:00"}}]
"""
EAGER = """
domains:
  news: {sources: [{use: feeds, fresh_for: 5m}, {use: edgar_filings, fresh_for: 20m}]}
  fundamentals: {sources: [{use: perplexity, fresh_for: 1h}]}
schedules:
  - {id: n, domain: news, trigger: {every: 5m}, during: {hours: "08:00-12:00"}}
  - {id: f, domain: fundamentals, trigger: {every: 1h}}
"""
IN_SESSIONS = """
domains: {quotes: {sources: [{use: finnhub, fresh_for: 5m}, {use: file, fresh_for: 10m}]}}
schedules: [{id: q, domain: quotes, trigger: {every: 5m}}]
"""


def settings_of(folder: Path, text: str) -> Settings:
    (config := folder / "config.yaml").write_text(text)
    config.chmod(0o600)
    providers = {name: client.Options for name, client in discover().items()}
    return load([config], {}, providers=providers, sources=source_providers())


@pytest.mark.parametrize(
    "text",
    [SHARED, KEPT, EAGER, IN_SESSIONS],
    ids=["shared answers", "kept answers", "eager schedules", "in sessions alone"],
)
def test_the_estimate_of_a_day_is_what_a_simulated_day_asks(tmp_path: Path, text: str) -> None:
    settings = settings_of(tmp_path, HEAD + text)
    report = simulate(settings, Plan(START, 2))
    counted = {one.provider: sum(one.per_period[24:]) for one in report.providers}
    estimated = {one.provider: one for one in estimate(settings, source_providers(), START + DAY)}
    wanted = {name: one.calls_per_day for name, one in estimated.items()}
    assert {name: counted.get(name, 0) for name in wanted} == pytest.approx(wanted, rel=0.2)


def test_a_domain_that_ages_in_sessions_and_has_no_schedule_asks_nothing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, HEAD + IN_SESSIONS.split("schedules", maxsplit=1)[0])
    estimated = estimate(settings, source_providers(), START)
    assert {one.provider: one.calls_per_day for one in estimated} == {"finnhub": 0, "quotes_file": 0}
