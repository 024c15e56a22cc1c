"""A document at a terminal, by the view of its domain; one that has none is shown as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from scheduler_service.cli.figures import cut
from scheduler_service.cli.terminal import line, print_json
from scheduler_service.cli.views import view_of
from scheduler_service.models import Record
from scheduler_service.redaction import escape, redact

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 78


def print_data(data: Record | bytes, *, whole: bool) -> None:
    """Prints a document's data; all of it where ``whole``."""
    view = view_of(type(data)) if isinstance(data, Record) else None
    if view is not None:
        view.detail(data, whole=whole)
    else:
        print_json(data.model_dump(mode="json") if isinstance(data, Record) else json.loads(data))


def print_story(told: Iterable[Record | bytes]) -> None:
    """What is to be told of a stock at a glance, each domain in its place; what has no view has none."""
    views = ((view, data) for data in told if isinstance(data, Record) and (view := view_of(type(data))) is not None)
    for view, data in sorted(views, key=lambda pair: pair[0].PLACE):
        for words in view.brief(data):
            line(cut(escape(redact(words)), WIDTH))
