"""What a JSON schema asks of one value: its types, and values that obey the bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

UNSOUND = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What working through a schema that is none ends in: ``"type": false``, ``"properties": 5``, an empty ``enum``."""

_FORMATS = {"date": "2000-01-01", "date-time": "2000-01-01T00:00:00Z", "uri": "https://sandbox.invalid/"}
_CHOICES = ("anyOf", "oneOf", "allOf")


def unsupported(schema: Schema) -> str | None:
    """What of the schema a model cannot be held to, in words; None when nothing is.

    Recursion, and objects whose properties are not listed (docs.perplexity.ai, guides/structured-outputs).
    """
    try:
        return _unsupported(schema, schema, ())
    except UNSOUND:
        return "the schema is not sound"


def _unsupported(schema: Any, root: Schema, inside: tuple[str, ...]) -> str | None:
    if not isinstance(schema, dict):
        return None
    if "$ref" in schema:
        return _unsupported_behind(schema["$ref"], root, inside)
    if "patternProperties" in schema:
        return "patternProperties is not supported"
    if "object" in types_of(schema) and not schema.get("properties"):
        return "unconstrained objects are not supported"
    inner = [*properties_of(schema).values(), schema.get("items")]
    inner += [one for keyword in _CHOICES for one in schema.get(keyword) or ()]
    return next(filter(None, (_unsupported(one, root, inside) for one in inner)), None)


def _unsupported_behind(reference: Any, root: Schema, inside: tuple[str, ...]) -> str | None:
    if reference in inside:
        return "recursive schemas are not supported"
    try:
        return _unsupported(resolved(root, reference), root, (*inside, reference))
    except ValueError as error:
        return str(error)


def resolved(root: Schema, reference: Any) -> Schema:
    """What ``#/$defs/Name`` stands for; ``ValueError`` when for nothing."""
    found: Any = root if isinstance(reference, str) and reference.startswith("#") else None
    for part in str(reference).removeprefix("#").split("/")[1:]:
        found = found.get(part) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        raise ValueError(f"the reference {str(reference)[:100]} leads nowhere")
    return found


def joined(parts: Sequence[Schema]) -> Schema:
    """One schema that asks for what all of them ask."""
    whole: dict[str, Any] = {}
    for part in parts:
        properties = {**properties_of(whole), **properties_of(part)}
        required = [*whole.get("required", ()), *part.get("required", ())]
        whole |= part
        whole |= {"properties": properties} if properties else {}
        whole |= {"required": required} if required else {}
    return whole


def types_of(schema: Schema) -> list[str]:
    """Its types, also where only its other words tell them; none where it takes anything."""
    kind = schema.get("type")
    if kind is None:
        return ["object"] if "properties" in schema else ["array"] if "items" in schema else []
    return [kind] if isinstance(kind, str) else list(kind)


def properties_of(schema: Schema) -> dict[str, Any]:
    return dict(schema.get("properties") or {})


def chosen(choices: Sequence[Any], known: Any, number: int) -> Any:
    """The known value where it is among the choices; else the one that says nothing, else any of them."""
    if any(same(known, one) for one in choices):
        return known
    saying_nothing = [one for one in choices if one is None or one == "unknown"]
    return (saying_nothing or choices)[number % len(saying_nothing or choices)]


def fitted(kind: str, known: Any, schema: Schema) -> Any:
    """The known value as this type and within the bounds; None where it cannot be."""
    is_number = isinstance(known, int | float) and not isinstance(known, bool)
    match kind:
        case "boolean":
            return known if isinstance(known, bool) else None
        case "string" if isinstance(known, str) or is_number:
            return _cut(str(known), schema)
        case "integer" if is_number and known == int(known):
            return int(known) if _in_bounds(int(known), schema) else None
        case "number" if is_number:
            return known if _in_bounds(known, schema) else None
        case _:
            return None


def any_value(kind: str, schema: Schema, number: int) -> Any:
    """Some value of a type within the bounds; another one for another number."""
    match kind:
        case "string":
            text = _FORMATS.get(schema.get("format", ""), "" if number == 0 else str(number))
            return _cut(text.ljust(schema.get("minLength", 0), "x"), schema)
        case "boolean":
            return number % 2 == 1
        case "integer" | "number":
            return _any_number(kind, schema, number)
        case _:
            return None


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: ``true`` is not 1."""
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def without_repeats(values: Sequence[Any]) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if not any(same(value, one) for one in kept):
            kept.append(value)
    return kept


def _cut(text: str, schema: Schema) -> str | None:
    cut = text[: schema.get("maxLength")]
    return cut if len(cut) >= schema.get("minLength", 0) else None


def _in_bounds(value: float, schema: Schema) -> bool:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    step = schema.get("multipleOf")
    return low <= value <= high and above < value < below and (step is None or value % step == 0)


def _any_number(kind: str, schema: Schema, number: int) -> int | float:
    """The ``number``-th multiple of the step from zero, or from the bound nearest to it; a fraction where none fits."""
    step: int | float = schema.get("multipleOf", 1)
    low: float = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    high: float = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    if low > 0 or high == math.inf:
        first, direction = (math.ceil(low / step) if low > 0 else 0), 1
    else:
        first, direction = (math.floor(high / step) if high < 0 else 0), -1
    tries = [(first + direction * n) * step for n in range(number, number + 3)]
    tries += [(first - direction * n) * step for n in range(number, number + 3)]
    tries += [low + (high - low) / 2] if kind == "number" and -math.inf < low <= high < math.inf else []
    return next((one for one in tries if _in_bounds(one, schema)), tries[0])
