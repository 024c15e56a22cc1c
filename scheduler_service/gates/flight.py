"""What a call knows: what was kept before, who waits for it, and what it brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler_service.clock import Instant
    from scheduler_service.stores.call_store import KeptRow


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was kept, unpacked. ``received``: the body came by the call itself."""

    row: KeptRow
    body: bytes
    checked_at: Instant
    asked: bool
    received: bool = False


@dataclass(frozen=True, slots=True)
class Before:
    """What is known of the resource; with its ``body`` the call asks only whether it has changed."""

    row: KeptRow
    body: bytes | None


@dataclass(slots=True)
class Waiting:
    """The tasks that wait for one answer, the one that asked first; more may join at any time. ``call_id`` is the last
    try's, ``in_the_air`` while one is reserved and not settled; ``ambiguous`` counts tries that may have been charged
    though they failed. ``urgent``: the one that asked first may use what a budget keeps back.
    """

    tasks: list[int]
    urgent: bool = False
    call_id: int | None = None
    in_the_air: bool = False
    ambiguous: int = 0
