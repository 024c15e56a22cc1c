"""What failed is asked less and less; what is unknown is quarantined; what is the provider's is not the stock's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.failure_memory import (
    LONGEST_QUARANTINE,
    OF_THE_PROVIDER,
    PASSING,
    pause_of,
    quarantined_until,
)
from scheduler_service.models import Reason, StockState

NOW = 100 * DAY


def failed(failures: int, tried_at: int | None = NOW, reason: Reason | None = Reason.NO_DATA) -> StockState:
    return StockState(status="failed", reason=reason, failures=failures, tried_at=tried_at)


def until(state: StockState, fresh_for: int) -> int | None:
    pause = pause_of(state, fresh_for, NOW)
    return None if pause is None else pause.until


@pytest.mark.parametrize(
    ("failures", "fresh_for", "pause"),
    [
        (1, 12 * HOUR, 15 * MINUTE * 9 // 10),
        (2, 12 * HOUR, 30 * MINUTE * 9 // 10),
        (6, 12 * HOUR, 8 * HOUR * 9 // 10),
        (7, 12 * HOUR, 12 * HOUR * 9 // 10),
        (10**9, 12 * HOUR, 12 * HOUR * 9 // 10),
        (9, DAY, 22 * HOUR + 30 * MINUTE),
        (1, 5 * MINUTE, 5 * MINUTE * 9 // 10),
    ],
)
def test_each_failure_doubles_the_pause_up_to_fresh_for(failures: int, fresh_for: int, pause: int) -> None:
    state = failed(failures)
    assert until(state, fresh_for) == NOW + pause
    assert pause_of(state, fresh_for, NOW + pause - 1) is not None
    assert pause_of(state, fresh_for, NOW + pause) is None


@pytest.mark.parametrize("reason", sorted(PASSING))
def test_what_is_soon_over_holds_a_stock_for_an_hour_at_most(reason: Reason) -> None:
    assert until(failed(1, reason=reason), 7 * DAY) == NOW + 15 * MINUTE * 9 // 10
    assert until(failed(50, reason=reason), 7 * DAY) == NOW + HOUR * 9 // 10
    assert until(failed(50, reason=reason), 10 * MINUTE) == NOW + 9 * MINUTE


@pytest.mark.parametrize("reason", [*sorted(OF_THE_PROVIDER), None])
def test_what_holds_every_stock_of_a_provider_is_not_the_stocks(reason: Reason | None) -> None:
    assert pause_of(failed(9, reason=reason), DAY, NOW) is None


@pytest.mark.parametrize(("failures", "days"), [(3, 7), (4, 14), (5, 28), (6, 28), (10**9, 28)])
def test_a_stock_that_is_unknown_again_and_again_is_quarantined_for_longer_each_time(failures: int, days: int) -> None:
    state = failed(failures, reason=Reason.UNKNOWN_SYMBOL)
    pause = pause_of(state, HOUR, NOW)
    assert pause is not None
    assert (pause.reason, pause.until) == (Reason.QUARANTINED, NOW + days * DAY)
    assert f"unknown there {failures} times in a row, left alone until" in pause.in_words()
    assert pause_of(state, HOUR, NOW + days * DAY) is None, "then it is tried again, once"


@pytest.mark.parametrize(
    ("failures", "pause"), [(1, 15 * MINUTE * 9 // 10), (2, 24 * HOUR + 30 * MINUTE)], ids=["once", "twice"]
)
def test_a_list_that_lacks_half_its_rows_once_condemns_nobody(failures: int, pause: int) -> None:
    state = failed(failures, reason=Reason.UNKNOWN_SYMBOL)
    assert quarantined_until(state) is None
    found = pause_of(state, HOUR, NOW)
    assert found is not None
    assert (found.reason, found.until) == (Reason.BACKING_OFF, NOW + pause), "the third time is of another list"


@pytest.mark.parametrize("state", [StockState(), failed(0), failed(3, None), failed(3, NOW + 1)])
def test_what_never_failed_or_failed_in_the_future_may_be_asked(state: StockState) -> None:
    assert pause_of(state, DAY, NOW) is None


@given(st.integers(0, 10**6), st.integers(0, NOW), st.sampled_from([*Reason, None]), st.integers(MINUTE, 60 * DAY))
def test_every_pause_ends(failures: int, tried_at: int, reason: Reason | None, fresh_for: int) -> None:
    state = failed(failures, tried_at, reason)
    assert pause_of(state, fresh_for, tried_at + max(fresh_for, LONGEST_QUARANTINE)) is None
