"""The lanes of this process: one per provider, as many workers as the provider may have requests under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler_service.executors.base import Executor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.processors.base import Processor

DEADLINE = 300.0
SLOW = ":slow"


def lane_of(processor: Processor[Any], source: str) -> str:
    """The lane a source's tasks wait in: its provider's, or that provider's slow one."""
    declared = processor.source(source)
    return declared.provider + (SLOW if declared.slow else "")


def lanes_of(provider: str) -> tuple[str, str]:
    return provider, provider + SLOW


def provider_of(lane: str) -> str:
    """Whose lane it is."""
    return lane.removesuffix(SLOW)


class LocalExecutor(Executor):
    """The quick lanes."""

    @classmethod
    def plan(cls, lanes: set[str], concurrency: int, per_provider: Mapping[str, int]) -> dict[str, int]:
        """Lane to workers: the provider's own concurrency, within the executor's."""
        return {lane: min(concurrency, per_provider[lane]) for lane in sorted(lanes) if not lane.endswith(SLOW)}
