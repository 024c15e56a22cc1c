"""When an alert is told, and how long until it is tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.alerts.channel import channel_id, channel_names, former_name
from scheduler_service.alerts.planning import (
    LONGEST_PAUSE,
    Send,
    SumUp,
    Wait,
    digest_words,
    held_words,
    next_step,
    pause_after,
    quiet_until,
    what_becomes_of,
)
from scheduler_service.clock import HOUR, MINUTE, SECOND, from_iso, to_iso
from scheduler_service.models import Notice
from scheduler_service.stores.delivery_store import HELD, SUPPRESSED, WAITING, ChannelStanding, LastTold

NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-24T02:59:59Z", None),
        ("2026-11-24T03:00:00Z", "2026-11-24T12:00:00Z"),
        ("2026-11-24T11:59:59Z", "2026-11-24T12:00:00Z"),
        ("2026-11-24T12:00:00Z", None),
        ("2026-11-01T04:00:00Z", "2026-11-01T12:00:00Z"),
        ("2027-03-14T05:00:00Z", "2027-03-14T11:00:00Z"),
    ],
)
def test_quiet_hours_are_local_and_end_by_the_clock_on_the_wall(now: str, until: str | None) -> None:
    found = quiet_until("22:00-07:00", NEW_YORK, from_iso(now))
    assert (None if found is None else to_iso(found)) == until


def test_without_quiet_hours_nothing_is_quiet() -> None:
    assert quiet_until(None, NEW_YORK, from_iso("2026-11-24T03:00:00Z")) is None


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_pauses_double_up_to_an_hour_and_are_never_none(tries: int, chance: float) -> None:
    assert SECOND // 2 <= pause_after(tries, chance) <= LONGEST_PAUSE
    assert pause_after(tries, 1.0) == min(LONGEST_PAUSE, SECOND * 2 ** min(tries, 30))


URLS = [
    "https://user:pass@hooks.test:8443/T0/B1/token?key=x",
    "https://hooks.test/other",
    "tgram://123456789:token/1",
    "TGRAM://987654321:token/2",
    "http://[::1]/x",
]


def test_a_channel_is_named_without_what_may_be_secret_and_with_a_number_where_two_would_be_alike() -> None:
    names = channel_names([*URLS, URLS[0]])
    assert list(names.values()) == [
        "webhook hooks.test:8443",
        "webhook hooks.test",
        "tgram",
        "tgram 2",
        "webhook [::1]",
    ]
    assert [former_name(channel) for channel in names] == [name.removesuffix(" 2") for name in names.values()]
    assert not any(secret in f"{names}" for secret in ("user", "pass", "token", "T0", "key", "other", "987654321"))


@given(st.permutations(URLS), st.integers(0, 5))
def test_a_channel_is_known_by_its_address_alone_wherever_it_stands_and_whatever_stands_beside_it(
    urls: list[str], many: int
) -> None:
    assert set(channel_names(urls[:many])) == {channel_id(url) for url in urls[:many]}
    assert len({channel_id(url) for url in urls}) == len(URLS)


NOW = from_iso("2026-11-24T12:00:00Z")


def told(key: str, level: str = "WARNING") -> Notice:
    return Notice(key, "a.b", "words", level=level, is_alert=True)


@pytest.mark.parametrize(
    ("key", "level", "last", "expected"),
    [
        ("x:bad@2", "WARNING", None, (WAITING, NOW)),
        ("x:bad@2", "CRITICAL", "x:bad@1", (SUPPRESSED, NOW)),
        ("x:bad@2", "WARNING", "x:good@1", (WAITING, NOW)),
        ("story 2", "WARNING", None, (WAITING, NOW)),
        ("story 2", "WARNING", "story 1", (HELD, NOW + HOUR - MINUTE)),
        ("story 2", "CRITICAL", "story 1", (WAITING, NOW)),
    ],
)
def test_what_repeats_the_last_is_not_told_what_says_otherwise_is_and_another_story_waits(
    key: str, level: str, last: str | None, expected: tuple[str, int]
) -> None:
    before = None if last is None else LastTold(last, NOW - MINUTE)
    assert what_becomes_of(told(key, level), before, HOUR, NOW) == expected


def test_in_quiet_hours_what_waits_waits_on_and_only_what_is_critical_is_told() -> None:
    assert next_step(ChannelStanding(first=1, to_sum_up=9, held_is_due=True), 1, 5, 7) == Wait(7)
    assert next_step(ChannelStanding(first=1, critical=2), 30, 5, 7) == Send(2)
    assert next_step(ChannelStanding(critical=2, backing_off_until=6), 30, 5, 7) == Wait(6)


def test_what_was_held_back_is_read_in_headlines_but_not_in_any_number() -> None:
    assert held_words(["A buys B", "A sues C"]) == "2 more: A buys B; A sues C"
    said = held_words(["x" * 1_000] * 1_400)
    assert said.startswith(f"1,400 more: {'x' * 200}; x")
    assert said.endswith("; and 1,390 more, see: scheduler-service history --strategy")
    assert len(said) < 2_200


@given(
    st.integers(1, 5),
    st.lists(st.sampled_from(["one", "many", "critical", "hour"]), min_size=1, max_size=30),
)
def test_no_hour_brings_more_than_the_most_but_for_what_is_critical_and_everything_is_told(
    most: int, happens: list[str]
) -> None:
    now, plain, critical, digests = 1_000 * HOUR, 0, 0, 0
    sent: list[tuple[int, bool]] = []
    told = 0
    for what in [*happens, *(["hour"] * 100)]:
        plain += {"one": 1, "many": 9}.get(what, 0)
        critical += what == "critical"
        now += HOUR if what == "hour" else MINUTE
        while not isinstance(step := next_step(standing(now, plain, critical, digests, sent), most, now), Wait):
            if isinstance(step, SumUp):
                told, plain, digests = told + plain, 0, 1
                continue
            assert isinstance(step, Send)
            sent.append((now, step.notice_id == CRITICAL))
            if step.notice_id == CRITICAL:
                critical -= 1
                told += 1
            elif digests:
                digests = 0
            else:
                plain, told = plain - 1, told + 1
            within = [is_critical for at, is_critical in sent if at > now - HOUR]
            assert len(within) <= most or within[-1], "beyond the most only what is critical comes"
    assert told == sum({"one": 1, "many": 9, "critical": 1}.get(what, 0) for what in happens)


PLAIN, CRITICAL = 1, 2


def standing(now: int, plain: int, critical: int, digests: int, sent: list[tuple[int, bool]]) -> ChannelStanding:
    return ChannelStanding(
        sent=tuple(at for at, _ in sent if now - HOUR < at <= now),
        first=PLAIN if plain or digests else CRITICAL if critical else None,
        critical=CRITICAL if critical else None,
        to_sum_up=plain,
        has_digest=bool(digests),
    )


def test_a_channel_that_has_had_its_most_waits_until_the_hour_has_room_again() -> None:
    full = ChannelStanding(sent=(10, 20, 30), first=1, to_sum_up=1)
    assert next_step(full, 2, 40) == Wait(20 + HOUR)
    assert next_step(full, 3, 40) == Wait(10 + HOUR)
    assert next_step(full, 4, 40) == Send(1)
    assert next_step(replace(full, next_due=50), 3, 40) == Wait(50)


def test_what_backs_off_holds_up_its_channel_until_then() -> None:
    assert next_step(ChannelStanding(first=2, backing_off_until=7), 30, 5) == Wait(7)
    assert next_step(ChannelStanding(first=2, backing_off_until=5), 30, 5) == Send(2)


def test_without_a_most_everything_comes_alone() -> None:
    assert next_step(ChannelStanding(first=1, to_sum_up=10**6, sent=(1,) * 1_000), None, 5) == Send(1)


def test_a_digest_says_how_many_there_were_of_each() -> None:
    said = digest_words({"news.high_impact": 12, "risk.breach": 1400})
    assert said == "and 1,412 more: 1,400 risk.breach, 12 news.high_impact; see: scheduler-service history --strategy"
