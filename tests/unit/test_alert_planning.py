"""When an alert is told, and how long until it is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.alerts.channel import channel_names
from scheduler_service.alerts.planning import LONGEST_PAUSE, pause_after, quiet_until
from scheduler_service.clock import SECOND, from_iso, to_iso

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


def test_a_channel_is_named_without_what_may_be_secret() -> None:
    assert channel_names(
        [
            "https://user:pass@hooks.test:8443/T0/B1/token?key=x",
            "https://hooks.test/other",
            "tgram://123456789:token/1",
            "TGRAM://987654321:token/2",
            "http://[::1]/x",
        ]
    ) == ("webhook hooks.test:8443", "webhook hooks.test", "tgram", "tgram 2", "webhook [::1]")
