"""Rests that grow."""

from __future__ import annotations

from scheduler_service.clock import HOUR, SECOND
from scheduler_service.gates.rests import Rests


def test_who_says_wait_for_nothing_and_goes_on_refusing_is_asked_less_and_less_often() -> None:
    rests, now, waits = Rests(), 1_790_000_000 * SECOND, []
    for _ in range(16):
        rest = rests.refused("closed", 0, now, now)
        waits.append(rest.until - now)
        now = max(rest.until, now + 1)
    assert waits[:6] == [0, SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND, 16 * SECOND]
    assert waits[-1] == HOUR
