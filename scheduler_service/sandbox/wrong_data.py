"""Data that looks right and is not: half of it, none of it, zeros. Of every provider, in its own format.

``OLDER`` has happened before, when the reply was made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scheduler_service.sandbox.faults import WrongData
from scheduler_service.sandbox.model_envelope import change_text, each, is_answer, is_figure, loaded, within

if TYPE_CHECKING:
    from scheduler_service.sandbox.reply import Reply

_STORY = re.compile(rb"<item>.*?</item>", re.DOTALL)
_FIGURES = frozenset({"val", "c", "d", "dp", "h", "l", "o", "pc"})
"""As EDGAR and Finnhub call them."""


def misbehave(kind: WrongData, reply: Reply) -> Reply:
    """The reply as the fault leaves it; one that is no good answer stays as it is."""
    if reply.status != 200 or kind is WrongData.OLDER:
        return reply
    said = loaded(reply.body)
    if said is None:
        return replace(reply, body=_stories(kind, reply.body))
    if is_answer(said):
        change_text(said, within(_OF_A_MODEL[kind]))
    else:
        said = _OF_DATA[kind](said)
    return replace(reply, body=json.dumps(said).encode())


def _stories(kind: WrongData, body: bytes) -> bytes:
    """A feed's; numbers it has none."""
    stories = _STORY.findall(body)
    gone = {WrongData.EMPTY_LISTS: stories, WrongData.HALF: stories[1::2]}.get(kind, [])
    for story in gone:
        body = body.replace(story, b"")
    return body


def _lists(change: Callable[[list[Any]], list[Any]]) -> Callable[[Any], Any]:
    """Every list changed, and every object whose keys are numbers, as which EDGAR lists companies."""

    def changed(value: Any) -> Any:
        if isinstance(value, list):
            return [changed(one) for one in change(value)]
        if isinstance(value, dict):
            numbered = value and all(key.isdigit() for key in value)
            keys = change(list(value)) if numbered else list(value)
            return {key: changed(value[key]) for key in keys}
        return value

    return changed


_half = _lists(lambda values: values[::2])
_none = _lists(lambda _: [])

_OF_A_MODEL: dict[WrongData, Callable[[Any], Any]] = {
    WrongData.HALF: _half,
    WrongData.EMPTY_LISTS: _none,
    WrongData.ZEROS: lambda said: each(said, lambda name, value: 0 if is_figure(name, value) else value),
}
_OF_DATA: dict[WrongData, Callable[[Any], Any]] = _OF_A_MODEL | {
    WrongData.ZEROS: lambda said: each(said, lambda name, value: 0 if name in _FIGURES else value),
}
