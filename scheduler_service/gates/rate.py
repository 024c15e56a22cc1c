"""GCRA with a burst of one: requests leave one interval apart or more. Pure; the gate keeps what must be remembered."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from scheduler_service.clock import MINUTE, SECOND

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros


@dataclass(frozen=True, slots=True)
class Permit:
    """When the request may leave, and when the one after it may."""

    at: Instant
    next_at: Instant


def interval(per_second: float | None, per_minute: float | None) -> Micros:
    """The time between two requests under the stricter of both limits; 0 without any."""
    spans = [SECOND / per_second if per_second else 0, MINUTE / per_minute if per_minute else 0]
    return ceil(max(spans))


def permit(next_at: Instant, spacing: Micros, now: Instant) -> Permit:
    """The permit of a request that asks now; ``next_at`` is the last permit's."""
    at = max(next_at, now)
    return Permit(at, at + spacing)
