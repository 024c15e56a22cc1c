"""Who listens to what, and what follows from what was noticed. Two tables; what is done is others' business.

It cannot loop: a notice is written once for ever under its key; what is fetched at once because of one belongs to
domains that never make such notices.
"""

from __future__ import annotations

from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scheduler_service.events.event_bus import EventBus, Listener
    from scheduler_service.models import Event, Notice

    Reaction = Callable[[Notice], Awaitable[None]]


def connect(bus: EventBus, *, log: Listener, works_again: Listener) -> Callable[[], None]:
    """Subscribes everyone; the function returned takes them all off again."""
    table: tuple[tuple[str, Listener], ...] = (
        # events  listener
        ("*", log),
        ("provider.circuit_closed", works_again),
        ("disk.has_room", works_again),
    )
    subscriptions = ExitStack()
    for names, listener in table:
        subscriptions.callback(bus.subscribe(names, listener))
    return subscriptions.close


def reactions(*, fetch_again: Reaction) -> Reaction:
    """What follows from a notice, as one callable; each part may be done twice, after a crash."""
    table: tuple[tuple[str, Reaction], ...] = (
        # notices  reaction
        ("filing.*", fetch_again),
    )

    async def react(notice: Notice) -> None:
        for names, reaction in table:
            if fnmatchcase(notice.event, names):
                await reaction(notice)

    return react


def write_to_log(event: Event) -> None:
    """One line, at the level its publisher chose.

    The message is passed without arguments, so that loguru leaves braces in it alone.
    """
    fields = {**event.fields, "event": event.name}
    logger.bind(**fields).log(event.level, event.message)
