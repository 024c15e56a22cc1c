"""Tells listeners what happened. In process, at once, in the order they subscribed."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler_service.models import Event

Listener: TypeAlias = Callable[["Event"], None]
"""Called on the publisher's thread, so it must be quick: what takes time goes into a queue of the listener's own."""


class EventBus:
    """Who wants to hear of what. ``publish`` is a ``models.Publish``."""

    def __init__(self) -> None:
        self._subscriptions: tuple[tuple[tuple[str, ...], Listener], ...] = ()

    def subscribe(self, names: str | Iterable[str], listener: Listener) -> Callable[[], None]:
        """Lets ``listener`` hear of events so named, until the function returned is called.

        A name may be a pattern: ``task.failed``, ``task.*``, ``*``. An event that several of them match is heard once.
        """
        subscription = ((names,) if isinstance(names, str) else tuple(names), listener)
        self._subscriptions += (subscription,)

        def unsubscribe() -> None:
            self._subscriptions = tuple(kept for kept in self._subscriptions if kept is not subscription)

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Tells everyone who listens. A listener that fails is logged, and the others still hear."""
        for patterns, listener in self._subscriptions:
            if any(fnmatchcase(event.name, pattern) for pattern in patterns):
                try:
                    listener(event)
                except Exception as error:
                    log = logger.opt(exception=error).bind(event="listener.failed", about=event.name)
                    log.error("A listener failed on {}", event.name)
