"""What is worth telling of earnings and of news, and when a stock is worth another look."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import DAY, HOUR, from_datetime, from_iso, to_iso_seconds
from scheduler_service.models import Kind, Provenance
from scheduler_service.parsers.earnings import EarningsData, Estimate, NextReport, Release, Report
from scheduler_service.parsers.earnings_noticed import earnings_notices, report_follow_ups
from scheduler_service.parsers.news import FILINGS_PUBLISHER, NewsData, NewsItem
from scheduler_service.parsers.news_noticed import impact, news_notices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.models import Notice

NOW = from_iso("2026-11-23T14:30:00Z")
BEFORE = NOW - HOUR
"""When the source was last heard."""
ORIGIN = Provenance(source="edgar", fetched_at="2026-11-23T14:30:00Z", call_id="1", kind=Kind.FILING)


def due(on: str, part: Any = "amc", *, confirmed: bool = False) -> NextReport:
    return NextReport(date=date.fromisoformat(on), time=part, confirmed=confirmed, source="edgar")


def report(surprise: str | None, *, end: str = "2026-09-30", filed: str = "2026-11-20") -> Report:
    expected = None
    if surprise is not None:
        expected = Estimate(eps_diluted=Decimal("2.00"), surprise=Decimal(surprise), provenance=ORIGIN)
    return Report(
        period_end=date.fromisoformat(end),
        period_start=date(2026, 7, 1),
        kind="quarter",
        revenue=Decimal(100),
        net_income=Decimal(10),
        eps_diluted=Decimal("2.2"),
        currency="USD",
        filed=date.fromisoformat(filed),
        estimate=expected,
        provenance=ORIGIN,
    )


def story(title: str, *, publisher: str = "Wire", hours_ago: float = 1, item_id: str = "s1") -> NewsItem:
    return NewsItem(
        id=item_id,
        title=title,
        url="https://news.test/1",
        source="feeds",
        publisher=publisher,
        published_at=to_iso_seconds(NOW - round(hours_ago * HOUR)),
        fetched_at=to_iso_seconds(NOW),
        provenance=ORIGIN,
    )


def told(notices: Sequence[Notice]) -> list[str]:
    return [notice.event for notice in notices]


class TestDates:
    def test_a_date_that_is_found_or_moves_or_is_confirmed_is_told_and_no_other(self) -> None:
        none, first = EarningsData(), EarningsData(next_report=due("2027-01-28"))
        moved = EarningsData(next_report=due("2027-01-29"))
        sure = EarningsData(next_report=due("2027-01-29", confirmed=True))
        assert told(earnings_notices("A", None, first, NOW, None)) == ["earnings.date_found"]
        assert told(earnings_notices("A", none, first, NOW, BEFORE)) == ["earnings.date_found"]
        assert told(earnings_notices("A", first, first, NOW, BEFORE)) == []
        [notice] = earnings_notices("A", first, moved, NOW, BEFORE)
        assert notice.message == "A reports on 2027-01-29 after the market closes (estimated, edgar); it was 2027-01-28"
        assert told(earnings_notices("A", moved, sure, NOW, BEFORE)) == ["earnings.date_found"]
        [gone] = earnings_notices("A", sure, none, NOW, BEFORE)
        assert (gone.event, gone.message) == ("earnings.date_gone", "A is no longer said to report on 2027-01-29")
        assert told(earnings_notices("A", sure, EarningsData(next_report=due("2026-11-18")), NOW, BEFORE)) == [
            gone.event
        ]

    def test_a_date_that_is_past_is_no_news(self) -> None:
        assert earnings_notices("A", None, EarningsData(next_report=due("2026-11-18")), NOW, None) == []

    @pytest.mark.parametrize(
        ("part", "looks"), [("bmo", ["09:00", "13:00"]), ("amc", ["17:00", "20:00"]), ("unknown", ["09:00", "17:30"])]
    )
    def test_the_day_is_looked_at_twice_and_the_morning_after_once(self, part: str, looks: list[str]) -> None:
        def at(day: date, local: time) -> int:
            return from_datetime(datetime.combine(day, local, tzinfo=UTC))

        wanted = report_follow_ups(EarningsData(next_report=due("2027-01-28", part)), at)
        assert [to_iso_seconds(one.due_at) for one in wanted] == [
            *(f"2027-01-28T{look}:00Z" for look in looks),
            "2027-01-29T09:00:00Z",
        ]
        assert len({one.name for one in wanted}) == 3
        assert report_follow_ups(EarningsData(), at) == []

    def test_after_a_release_its_report_is_looked_for_though_the_next_date_has_moved_on(self) -> None:
        def at(day: date, local: time) -> int:
            return from_datetime(datetime.combine(day, local, tzinfo=UTC))

        told = Release(
            date=date(2027, 1, 28), form="8-K", accession="1", about="results", period_end=date(2026, 12, 31)
        )
        known = EarningsData(next_report=due("2027-04-29", "amc"), releases=(told,))
        looks = {one.name: to_iso_seconds(one.due_at) for one in report_follow_ups(known, at)}
        assert looks["report-of-release"] == "2027-01-29T09:00:00Z"
        assert looks["report"] == "2027-04-30T09:00:00Z"
        came = known.model_copy(update={"reports": (report(None).model_copy(update={"period_end": told.period_end}),)})
        assert "report-of-release" in {one.name for one in report_follow_ups(came, at)}, "others may not have it yet"


class TestSurprises:
    def test_a_great_one_is_an_alert_once(self) -> None:
        before, after = EarningsData(reports=(report(None),)), EarningsData(reports=(report("0.10"),))
        [notice] = earnings_notices("A", before, after, NOW, BEFORE)
        assert (notice.event, notice.is_alert) == ("earnings.surprise", True)
        assert "beat the estimate for the quarter to 2026-09-30 by 10.0%" in notice.message
        assert notice.facts["report"]["provenance"]["source"] == "edgar"
        assert earnings_notices("A", after, after, NOW, BEFORE) == []

    def test_one_that_grows_great_when_it_is_corrected_is_told_then(self) -> None:
        small, great = EarningsData(reports=(report("0.03"),)), EarningsData(reports=(report("0.09"),))
        assert told(earnings_notices("A", small, great, NOW, BEFORE)) == ["earnings.surprise"]
        assert told(earnings_notices("A", great, small, NOW, BEFORE)) == []

    @pytest.mark.parametrize("small", ["0.049", "-0.049", "0"])
    def test_a_small_one_is_none(self, small: str) -> None:
        assert earnings_notices("A", EarningsData(), EarningsData(reports=(report(small),)), NOW, BEFORE) == []

    def test_a_miss_of_exactly_five_percent_is_told(self) -> None:
        [notice] = earnings_notices("A", EarningsData(), EarningsData(reports=(report("-0.05"),)), NOW, BEFORE)
        assert "missed the estimate" in notice.message

    def test_what_is_learned_at_the_first_look_or_late_is_no_news(self) -> None:
        assert earnings_notices("A", None, EarningsData(reports=(report("0.2"),)), NOW, None) == []
        filed = EarningsData(reports=(report(None),))
        with_estimate = EarningsData(reports=(report("0.2"),))
        assert earnings_notices("A", filed, with_estimate, NOW, None) == [], "a second source, for the first time"
        late = EarningsData(reports=(report("0.2", filed="2026-09-01"),))
        assert earnings_notices("A", EarningsData(), late, NOW, BEFORE) == []


class TestNews:
    def test_filed_results_are_told_by_their_accession_once(self) -> None:
        filed = story("A Inc. files 8-K: results of operations (2.02)", publisher=FILINGS_PUBLISHER)
        [notice] = news_notices("A", NewsData(), NewsData(items=(filed,)), NOW, BEFORE)
        assert (notice.event, notice.key, notice.is_alert) == ("filing.results", "filing.results:A:s1", False)
        assert news_notices("A", NewsData(items=(filed,)), NewsData(items=(filed,)), NOW, BEFORE) == []

    def test_nothing_is_news_at_the_first_look_or_when_it_is_old_or_undated(self) -> None:
        grave = story("A files for Chapter 11")
        assert news_notices("A", None, NewsData(items=(grave,)), NOW, None) == []
        assert told(news_notices("A", NewsData(), NewsData(items=(grave,)), NOW, BEFORE)) == ["news.high_impact"]
        old = story("A files for Chapter 11", hours_ago=4 * 24)
        assert news_notices("A", NewsData(), NewsData(items=(old,)), NOW, BEFORE) == []
        undated = grave.model_copy(update={"published_at": None})
        assert news_notices("A", NewsData(), NewsData(items=(undated,)), NOW, BEFORE) == []

    def test_what_a_second_source_tells_at_its_first_look_is_no_news_either(self) -> None:
        grave = story("A files for Chapter 11")
        filed = story("A files 8-K: results (2.02)", publisher=FILINGS_PUBLISHER, hours_ago=20 * 24, item_id="s2")
        known, then = NewsData(), NewsData(items=(grave, filed))
        assert news_notices("A", known, then, NOW, None) == []
        assert told(news_notices("A", known, then, NOW, BEFORE)) == ["news.high_impact", "filing.results"]

    def test_what_came_while_its_source_was_not_heard_is_told_late(self) -> None:
        grave = NewsData(items=(story("A files for Chapter 11", hours_ago=9 * 24),))
        assert news_notices("A", NewsData(), grave, NOW, NOW - 8 * DAY) == []
        assert told(news_notices("A", NewsData(), grave, NOW, NOW - 10 * DAY)) == ["news.high_impact"]
        ancient = NewsData(items=(story("A files for Chapter 11", hours_ago=31 * 24),))
        assert news_notices("A", NewsData(), ancient, NOW, NOW - 90 * DAY) == [], "of a stock that was away for long"

    def test_results_make_due_also_where_they_are_found_only_after_weeks(self) -> None:
        filed = story("A files 8-K: results (2.02)", publisher=FILINGS_PUBLISHER, hours_ago=20 * 24)
        assert told(news_notices("A", NewsData(), NewsData(items=(filed,)), NOW, BEFORE)) == ["filing.results"]
        older = story("A files 8-K: results (2.02)", publisher=FILINGS_PUBLISHER, hours_ago=31 * 24)
        assert news_notices("A", NewsData(), NewsData(items=(older,)), NOW, BEFORE) == []

    @pytest.mark.parametrize(
        ("title", "why"),
        [
            ("Acme to be acquired by Globex for $3 billion", "takeover"),
            ("Acme acquires Initech", "takeover"),
            ("Acme cuts full-year guidance on weak demand", "outlook"),
            ("Acme CEO steps down after ten years", "leadership"),
            ("SEC charges Acme with fraud", "authorities"),
            ("FDA approves Acme's drug", "approval"),
            ("Acme recalls 20,000 anvils", "safety"),
            ("Acme opens a shop in Ohio", None),
            ("Why Acme stock is up today", None),
            ("Three stocks to buy now", None),
            ("Acme's second acre of land", None),
        ],
    )
    def test_headlines_that_move_a_price(self, title: str, why: str | None) -> None:
        assert impact(story(title)) == why

    def test_of_filings_the_item_decides_and_not_the_words(self) -> None:
        grave = story("A files 8-K: statements not to be relied on (4.02)", publisher=FILINGS_PUBLISHER)
        plain = story("A files 8-K: change of directors or officers (5.02)", publisher=FILINGS_PUBLISHER)
        assert (impact(grave), impact(plain)) == ("filing", None)

    def test_a_day_ahead_is_a_zone_and_more_is_nonsense(self) -> None:
        ahead = story("A recalls all", hours_ago=-23)
        nonsense = story("A recalls all", hours_ago=-(DAY / HOUR) - 1)
        assert len(news_notices("A", NewsData(), NewsData(items=(ahead,)), NOW, BEFORE)) == 1
        assert news_notices("A", NewsData(), NewsData(items=(nonsense,)), NOW, BEFORE) == []
