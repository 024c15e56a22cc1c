"""Who listens to what. A table; what the listeners do is theirs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler_service.events.event_bus import EventBus, Listener
    from scheduler_service.models import Event


def connect(bus: EventBus, *, log: Listener, works_again: Listener) -> Callable[[], None]:
    """Subscribes everyone; the function returned takes them all off again."""
    table: tuple[tuple[str, Listener], ...] = (
        # events  listener
        ("*", log),
        ("provider.circuit_closed", works_again),
    )
    subscriptions = ExitStack()
    for names, listener in table:
        subscriptions.callback(bus.subscribe(names, listener))
    return subscriptions.close


def write_to_log(event: Event) -> None:
    """One line, at the level its publisher chose.

    The message is passed without arguments, so that loguru leaves braces in it alone.
    """
    fields = {**event.fields, "event": event.name}
    logger.bind(**fields).log(event.level, event.message)
