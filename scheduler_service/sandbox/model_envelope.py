"""Where a language model's text stands in a reply, in both dialects; how it, or the JSON in it, is changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def loaded(body: bytes) -> dict[str, Any] | None:
    """The JSON object of a body; None where it is none."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def is_answer(said: dict[str, Any]) -> bool:
    """Whether a reply holds a model's text."""
    return "output" in said or "choices" in said


def change_text(said: dict[str, Any], change: Callable[[str], str]) -> None:
    """Changes the model's text in a reply."""
    for item in said.get("output", ()):
        for part in item.get("content", ()):
            part["text"] = change(part["text"])
    for choice in said.get("choices", ()):
        choice["message"]["content"] = change(choice["message"]["content"])


def within(change: Callable[[Any], Any]) -> Callable[[str], str]:
    """The change of a value as one of the text that holds it as JSON; other text stays."""

    def changed(text: str) -> str:
        said = loaded(text.encode())
        return text if said is None else json.dumps(change(said))

    return changed


def each(value: Any, change: Callable[[str, Any], Any], name: str = "") -> Any:
    """The value with every text, number and null inside it changed; ``change`` is told the name it stands under."""
    if isinstance(value, dict):
        return {key: each(inner, change, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [each(inner, change, name) for inner in value]
    return change(name, value)


def is_figure(name: str, value: Any) -> bool:
    """Whether a value is a number that says something, not the id of a search result."""
    return isinstance(value, int | float) and not isinstance(value, bool) and "source" not in name
