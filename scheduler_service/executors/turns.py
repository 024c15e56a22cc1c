"""Whose turn it is: high ranks go first, and low ones never starve."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

from scheduler_service.stores.task_store import Rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")

WEIGHTS = {Rank.HIGH: 8, Rank.NORMAL: 3, Rank.LOW: 1}
"""Of twelve turns, where every rank has work."""


class Turns:
    """A lane's turns, by smooth weighted round robin: what a rank has to its credit is kept from claim to claim."""

    def __init__(self, credit: Mapping[Rank, int] | None = None) -> None:
        self._credit = dict(credit or dict.fromkeys(Rank, 0))

    def copy(self) -> Turns:
        """For a claim that may not come about."""
        return Turns(self._credit)

    def choose(self, waiting: Mapping[Rank, Sequence[T]], most: int) -> list[T]:
        """Up to ``most``, each rank's in their order. A rank without work saves nothing up."""
        queues = {rank: deque(found) for rank, found in waiting.items() if found}
        chosen: list[T] = []
        while queues and len(chosen) < most:
            self._credit = {rank: self._credit[rank] + WEIGHTS[rank] if rank in queues else 0 for rank in Rank}
            turn = max(queues, key=lambda rank: (self._credit[rank], -rank))
            self._credit[turn] -= sum(WEIGHTS[rank] for rank in queues)
            chosen.append(queues[turn].popleft())
            if not queues[turn]:
                del queues[turn]
        return chosen
