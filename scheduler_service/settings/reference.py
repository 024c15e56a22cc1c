"""The settings' types as pages for people: every key, what can be written there, its default, what it means.

What a setting means stands once: in the text under its field, as this module reads it from the source.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from scheduler_service.settings.model import Kept, SourceSettings
from scheduler_service.settings.units import Duration, Share, Size, format_duration, format_share, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic.fields import FieldInfo

_UNITS: dict[Any, tuple[str, Callable[[Any], str]]] = {
    get_args(Duration)[1]: ("duration", format_duration),
    get_args(Size)[1]: ("size", format_size),
    get_args(Share)[1]: ("share", format_share),
}
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    SecretStr: "text (secret)",
}
_WORDS |= {Path: "path", Any: "anything"}
_PLURALS = {"text": "texts", "text (secret)": "texts (secret)"}
_BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


class Setting(NamedTuple):
    """One row: the key below its section, and the rest in words and Markdown."""

    key: str
    kind: str
    default: str
    meaning: str


def settings_of(model: type[BaseModel], given: BaseModel | None = None) -> Iterator[Setting]:
    """Every setting of a section and of those inside it; ``given`` is what the section is when it is not written."""
    meanings = meanings_of(model)
    for name, field in model.model_fields.items():
        inner = _section_in(field)
        default = field.get_default(call_default_factory=True) if given is None else getattr(given, name)
        if inner is None or inner in (Kept, SourceSettings):
            shown = "required" if default is PydanticUndefined else _code(_written(default, field))
            yield Setting(name, _kind(field), shown, meanings.get(name, ""))
            continue
        if isinstance(default, BaseModel):
            below: Iterator[Setting] = settings_of(inner, default)
        else:
            yield Setting(name, "settings, or null", _code("null"), meanings.get(name, ""))
            below = settings_of(inner)
        yield from (setting._replace(key=f"{name}.{setting.key}") for setting in below)


def table(settings: Iterator[Setting]) -> str:
    """The rows as a Markdown table."""
    rows = [Setting(f"`{s.key}`", *(cell.replace("|", "\\|") for cell in s[1:])) for s in settings]
    lines = ["| key | what can be written | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def purpose_of(model: type[BaseModel]) -> str:
    """What a section is for: the text of its class."""
    return " ".join((model.__doc__ or "").split()).replace("``", "`")


@cache
def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """The text under each field, the one nearest in the line of inheritance."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel and "<" not in kind.__qualname__:
            found |= _texts_under_fields(kind)
    return found


def _texts_under_fields(model: type[BaseModel]) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    except (OSError, TypeError):
        return {}  # made at run time: what it inherits has its source elsewhere
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for statement, following in pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[statement.target.id] = " ".join(str(following.value.value).split())
    return found


def _section_in(field: FieldInfo) -> type[BaseModel] | None:
    """The section that stands here; None for a value, and for a list of sections."""
    options = [option for option in _options(field.annotation) if isinstance(option, type)]
    return next((option for option in options if issubclass(option, BaseModel)), None)


def _kind(field: FieldInfo) -> str:
    unit = next((words for part in field.metadata if (words := _unit(part))), None)
    options = _options(field.annotation)
    kinds = [unit[0]] if unit else list(dict.fromkeys(_in_words(kind) for kind in options if kind is not NoneType))
    bounds = [
        form.format(unit[1](value) if unit else value)
        for part in field.metadata
        for name, form in _BOUNDS.items()
        if (value := getattr(part, name, None)) is not None
    ]
    return ", ".join([", or ".join(kinds), *bounds, *(["or null"] if NoneType in options else [])])


def _unit(part: object) -> tuple[str, Callable[[Any], str]] | None:
    return next((words for marker, words in _UNITS.items() if marker is part), None)


def _in_words(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is None:
        is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        return "settings" if is_section else _WORDS[annotation]
    if origin is Annotated:
        unit = next((found for part in inner[1:] if (found := _unit(part))), None)
        return unit[0] if unit else _in_words(inner[0])
    if origin in (tuple, frozenset):
        one = _in_words(inner[0])
        return f"list of {_PLURALS.get(one, one)}"
    if origin is dict:
        return "`{key: value}`" if inner[1] is Any else f"`{{name: ...}}`, each a {_in_words(inner[1])}"
    return ", ".join(map(_code, inner)) if origin is Literal else ", or ".join(map(_in_words, inner))


def _options(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _written(value: Any, field: FieldInfo) -> str:
    """A default as it would be written."""
    unit = next((words for part in field.metadata if (words := _unit(part))), None)
    if unit is not None and value is not None:
        return unit[1](value)
    if isinstance(value, Path | str):
        return str(value)
    if isinstance(value, tuple | frozenset):
        return "[]"
    return "{}" if isinstance(value, dict) else json.dumps(value)


def _code(value: object) -> str:
    return f"`{value}`"
