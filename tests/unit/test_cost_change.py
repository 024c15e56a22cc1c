"""What a changed configuration asks more or less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler_service.cli.configuration import read
from scheduler_service.clock import from_iso
from scheduler_service.cost_change import Change, Daily, Noted, between, changes, daily, from_text, to_text
from scheduler_service.settings.load import Found

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.settings.loaded import Settings

NOW = from_iso("2026-11-23T14:30:00Z")
CONFIG = """\
watchlist: [AAPL, NVDA]
providers: {edgar: {user_agent: Jane Doe jane.doe@example.com}}
domains: {fundamentals: {sources: [{use: edgar, fresh_for: 10m}, {use: perplexity, fresh_for: 10m}]}}
schedules: [{id: f, domain: fundamentals, trigger: {every: 1h}}]
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-one")
    return written(tmp_path / "before.yaml", CONFIG)


def written(path: Path, text: str) -> Settings:
    path.write_text(text)
    return read(Found((path,), ""))


def test_it_says_what_was_asked_before_what_is_asked_now_and_what_that_costs_more(
    settings: Settings, tmp_path: Path
) -> None:
    seldom = written(tmp_path / "before.yaml", CONFIG.replace("every: 1h", "every: 4h"))
    assert between(seldom, settings, NOW) == (
        "edgar: before 12 calls a day, now 48 (+36); perplexity: before 12 calls a day, now 48 (+36, +$0.72)"
    )
    assert between(settings, seldom, NOW).endswith("perplexity: before 48 calls a day, now 12 (-36, -$0.72)")
    assert between(settings, settings, NOW) == ""


def test_slots_that_a_kept_answer_serves_cost_nothing_more(settings: Settings, tmp_path: Path) -> None:
    """EDGAR's list of filings is kept for minutes, a model's answer for the better part of an hour."""
    oftener = written(tmp_path / "after.yaml", CONFIG.replace("every: 1h", "every: 15m"))
    assert between(settings, oftener, NOW) == "edgar: before 48 calls a day, now 192 (+144)"


def test_a_stand_in_is_told_as_what_it_asks_at_most(settings: Settings, tmp_path: Path) -> None:
    stand_in = written(tmp_path / "after.yaml", CONFIG.replace("fresh_for: 10m}]", "fresh_for: 10m, when: missing}]"))
    assert between(settings, stand_in, NOW) == (
        "perplexity: before 48 calls a day, now 0 (-48, -$0.96); "
        "where better sources have nothing, at most 0 more before, now 48 (+48, +$0.96)"
    )
    text = to_text(Noted(NOW, daily(stand_in, NOW)))
    assert from_text(text) == Noted(NOW, daily(stand_in, NOW))


def test_a_longer_watchlist_and_a_provider_that_is_new_or_gone_make_a_difference(
    settings: Settings, tmp_path: Path
) -> None:
    longer = written(tmp_path / "longer.yaml", CONFIG.replace("NVDA]", "NVDA, SNOW]"))
    assert "edgar: before 48 calls a day, now 72 (+24)" in between(settings, longer, NOW)
    without = written(tmp_path / "without.yaml", CONFIG.replace(", {use: perplexity, fresh_for: 10m}", ""))
    assert between(settings, without, NOW) == "perplexity: before 48 calls a day, now 0 (-48, -$0.96)"
    assert between(without, settings, NOW) == "perplexity: before 0 calls a day, now 48 (+48, +$0.96)"


def test_the_same_configuration_is_estimated_alike_as_of_the_time_that_was_noted(settings: Settings) -> None:
    noted = from_text(to_text(Noted(NOW, daily(settings, NOW))))
    assert noted is not None
    assert changes(noted.by_provider, daily(settings, noted.at)) == []


@pytest.mark.parametrize(
    "text", [None, "", "null", "[]", "{}", "{", '{"at": 1, "providers": {"edgar": [1]}}', '{"at": 1, "providers": 7}']
)
def test_what_another_version_noted_is_as_good_as_nothing(text: str | None) -> None:
    assert from_text(text) is None


def test_where_only_the_price_changes_the_money_is_told() -> None:
    (change,) = changes({"desk": Daily(10, 0.05)}, {"desk": Daily(10, 0.20)})
    assert change == Change("desk", Daily(10, 0.05), Daily(10, 0.20))
    assert change.in_words() == "desk: before 10 calls a day, now 10 (+0, +$0.15)"
