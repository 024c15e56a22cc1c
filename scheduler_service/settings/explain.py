"""Validation errors in plain words, each at its place."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from scheduler_service.errors import Problem
from scheduler_service.settings.environment import respelled
from scheduler_service.settings.tree import Loc, Node, find
from scheduler_service.settings.units import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

_SECRET = re.compile(r"key|token|secret|password|url", re.IGNORECASE)
_PROVIDER = re.compile(r"providers\.[^.]*")
"""A key may have been written where the provider's settings belong."""
_LIKE_A_KEY = re.compile(r"\s*(bearer\s|pplx-|sk-)", re.IGNORECASE)
_NEEDED = {
    "int": "a whole number is needed",
    "float": "a number is needed",
    "bool": "true or false is needed",
    "string": "text is needed",
    "list": "a list is needed",
    "tuple": "a list is needed",
    "frozen_set": "a list is needed",
    "dict": "settings as `key: value` are needed",
    "model": "settings as `key: value` are needed",
}
_AS_LIST = "write [a, b], or one item a line after `- `"
_AS_MAPPING = "write {key: value}, or one a line, indented"
_RIGHT = {"string": 'write it in quotes, "..."', "list": _AS_LIST, "tuple": _AS_LIST, "frozen_set": _AS_LIST}
_RIGHT |= {"dict": _AS_MAPPING, "model": _AS_MAPPING}
_NAMES = {"providers": "provider", "domains": "domain"}


def explain(error: ErrorDetails, tree: Node, model: type[BaseModel]) -> Problem:
    """One error of validation as a problem with a place."""
    path, node, taken = find(tree, error["loc"])
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown(path, node, taken, fields_at(model, taken[:-1]))
    if kind == "missing":
        name = str(error["loc"][-1])
        return Problem(str(node.where), f"{path}.{name}".strip("."), "it is missing", f"add `{name}: ...`")
    hide = _SECRET.search(path) or _PROVIDER.fullmatch(path) or _LIKE_A_KEY.match(str(error["input"]))
    wrong, right = _sentence(error, hide=bool(hide))
    return Problem(str(node.where), path, wrong, right)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``did you mean x?``, or what there is. Names with a colon are this program's own: many, and left out."""
    names = sorted(known)
    close = closest(name, names)
    if close is not None:
        return f"did you mean {close}?"
    given = [other for other in names if ":" not in other] or names
    return f"known here: {', '.join(given)}" if names else "nothing is known here"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The name that was probably meant."""
    names = {other.lower(): other for other in known}
    close = get_close_matches(name.lower(), sorted(names), n=1, cutoff=0.6)
    return names[close[0]] if close else None


def fields_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """The names that can be written at a place."""
    for step in loc:
        field = model.model_fields.get(step) if isinstance(step, str) else None
        inner = _model_in(field.annotation) if field is not None else None
        model = inner or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg)) is not None), None)


def _unknown(path: str, node: Node, loc: Loc, known: list[str]) -> Problem:
    parent, _, name = path.rpartition(".")
    section = next((known_name for known_name in known if name.startswith(f"{known_name}_")), None)
    close = closest(name, known)
    if section is not None and node.where.variable and close in (None, section):
        close = f"{section}__{name.removeprefix(f'{section}_')}"
    variable = respelled(node.where.variable, len(loc) - 1, close) if close else None
    right = f"did you mean {variable}?" if variable else did_you_mean(name, known)
    return Problem(
        str(node.key or node.where), path, f"there is no {_NAMES.get(parent, 'setting')} {shown(name)}", right
    )


def _sentence(error: ErrorDetails, *, hide: bool) -> tuple[str, str]:
    """What is wrong and what would be right."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    given = "this" if hide or isinstance(value, (dict, list)) else "null" if value is None else shown(_bare(value))
    if kind == "value_error":
        wrong, _, right = str(context["error"]).partition("; ")
        return wrong, right
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(context["expected"]))
        close = closest(value, allowed) if isinstance(value, str) else None
        return f"{given} is not one of {', '.join(allowed)}", f"did you mean {close}?" if close else ""
    if kind == "string_pattern_mismatch":
        return f"{given} is not a name", "use 1 to 64 letters, digits, - and _, starting with a letter or digit"
    for name, needed in _NEEDED.items():
        if kind.startswith(f"{name}_") and kind.endswith(("_type", "_parsing", "_from_float", "_parsing_size")):
            quoted = name in ("int", "float", "bool") and isinstance(value, str) and not hide
            return f"{needed}, not {given}", _without_quotes(value) if quoted else _RIGHT.get(name, "")
    subject, _, said = error["msg"].partition(" ")  # "Input should be ...", "Tuple should have ..."
    return f"{given} {(said or subject).replace(' after validation', '')}", ""


def _without_quotes(value: str) -> str:
    """What looks right and is text all the same stands in quotes."""
    return "write it without quotes" if re.fullmatch(r"(?i)true|false|[-+]?[0-9.]+", value.strip()) else ""


def _bare(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value
