"""The slow lane: work that takes long or much memory, a few at a time, with a long deadline."""

from __future__ import annotations

from scheduler_service.executors.base import Executor
from scheduler_service.executors.local_executor import SLOW

DEADLINE = 900.0


class FundamentalExecutor(Executor):
    """The slow lanes, so that large bodies and long analyses never hold the quick ones."""

    @classmethod
    def plan(cls, lanes: set[str], slow_lane: int) -> dict[str, int]:
        """Lane to workers."""
        return {lane: slow_lane for lane in sorted(lanes) if lane.endswith(SLOW)}
