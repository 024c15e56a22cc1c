"""How each domain looks at a terminal of 80 columns: a module per domain, found by the record that it shows."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler_service.models import Record


class View(Protocol):
    """``PLACE``: where it stands among the others, from the top."""

    RECORD: type[Record]
    PLACE: int

    def detail(self, data: Any, *, whole: bool) -> None:
        """Prints a document's data; all of it where ``whole``."""

    def brief(self, data: Any) -> Iterator[str]:
        """The few lines of it that belong to a stock's story, of 78 characters at most."""


def view_of(record: type[Record]) -> View | None:
    return _views().get(record)


@cache
def _views() -> dict[type[Record], View]:
    modules = (import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    return {view.RECORD: view for view in (cast("View", module) for module in modules)}
