from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.clock import HOUR, MINUTE, SECOND
from scheduler_service.errors import (
    Held,
    NotFound,
    PermanentClientError,
    RateLimited,
    Refused,
    StoreError,
    TransientClientError,
)
from scheduler_service.gates.breaker import LONGEST_OPEN, MOST_FAILED, SHORTEST_OPEN, Circuit, after_try, ended_well
from scheduler_service.models import Reason
from scheduler_service.stores.gate_store import GateRow

NOW = 100 * HOUR


def after(circuit: Circuit, outcomes: str, now: int = NOW, step: int = SECOND) -> Circuit:
    """``+`` a try that ended well, ``-`` one that did not, one each ``step``; the last one ends ``now``."""
    for place, outcome in enumerate(outcomes, 1 - len(outcomes)):
        circuit = after_try(circuit, now + place * step, well=outcome == "+", probe=False)
    return circuit


def opened(circuit: Circuit, now: int = NOW) -> int:
    """For how long it is open from now on."""
    row = circuit.opened_at(now)
    return 0 if row is None else row.until - now


@pytest.mark.parametrize(
    ("outcomes", "is_open"),
    [("----", False), ("-----", True), ("+-+-+-+-+", False), ("+-+-+-+-+-", True), ("-----+++++", True)],
)
def test_it_opens_when_half_of_the_last_ten_tries_failed(outcomes: str, is_open: bool) -> None:
    assert (after(Circuit(), outcomes).opened is not None) == is_open


@pytest.mark.parametrize("outcomes", ["--++++++++--", "----++++++++++"])
def test_it_forgets_older_failures(outcomes: str) -> None:
    assert after(Circuit(), outcomes).opened is None


def test_it_counts_requests_that_time_out_one_after_the_other_and_not_what_happened_long_ago() -> None:
    assert opened(after(Circuit(), "-----", step=90 * SECOND)) == SHORTEST_OPEN
    assert opened(after(Circuit(), "-----", step=3 * MINUTE)) == 0


def test_a_probe_that_fails_opens_it_for_twice_as_long_and_one_that_does_not_closes_it() -> None:
    circuit, now, lengths = after(Circuit(), "-" * MOST_FAILED), NOW, []
    for _ in range(7):
        lengths.append(opened(circuit, now))
        now += lengths[-1]
        circuit = after_try(circuit, now, well=False, probe=True)
    assert lengths == [SHORTEST_OPEN * 2**n for n in range(5)] + [LONGEST_OPEN] * 2
    closed = after_try(circuit, now + LONGEST_OPEN, well=True, probe=True)
    assert closed == Circuit()


def test_who_left_before_it_opened_changes_nothing_any_more() -> None:
    circuit = after(Circuit(), "-----")
    for well in (True, False):
        assert after_try(circuit, NOW + SECOND, well=well, probe=False) == circuit


def test_what_a_wrong_clock_set_is_void() -> None:
    assert opened(after(Circuit(), "-----", now=NOW + HOUR)) == 0
    assert after(after(Circuit(), "----", now=NOW + HOUR), "-").opened is None


def test_a_row_that_says_it_was_closed_leaves_it_closed() -> None:
    assert Circuit(opened=GateRow(NOW, NOW, Reason.PROVIDER_DOWN)).opened_at(NOW) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20 * MINUTE)), max_size=60))
def test_it_lets_only_probes_through_while_it_is_open_and_never_stays_so_for_longer_than_ten_minutes(
    tries: list[tuple[bool, int]],
) -> None:
    circuit, now = Circuit(), NOW
    for well, pause in tries:
        now += pause
        row = circuit.opened_at(now)
        if row is not None and now < row.until:
            continue  # nobody asks
        before = circuit
        circuit = after_try(circuit, now, well=well, probe=row is not None)
        assert opened(circuit, now) <= LONGEST_OPEN
        assert len(circuit.tries) <= 10
        assert not (well and before.opened is None and circuit.opened is not None and len(before.tries) < MOST_FAILED)


@pytest.mark.parametrize(
    ("error", "well"),
    [
        (None, True),
        (TransientClientError("500", Reason.PROVIDER_DOWN, status=500), False),
        (TransientClientError("cut", Reason.PROVIDER_DOWN), False),
        (TransientClientError("slow", Reason.TIMEOUT), False),
        (TransientClientError("503", Reason.PROVIDER_DOWN, status=503, retry_after=5), False),
        (PermanentClientError("no TLS", Reason.PROVIDER_DOWN), False),
        (NotFound("404", Reason.NO_DATA, status=404), True),
        (Refused("401", Reason.REFUSED, status=401), True),
        (RateLimited("429", Reason.RATE_LIMITED, status=429), True),
        (PermanentClientError("elsewhere", Reason.REDIRECTED), None),
        (Held("shut", Reason.RATE_LIMITED, NOW), None),
        (StoreError("full"), None),
        (asyncio.CancelledError(), None),
    ],
)
def test_only_what_an_upstream_does_when_it_is_down_counts(error: BaseException | None, well: bool | None) -> None:
    assert ended_well(error) is well
