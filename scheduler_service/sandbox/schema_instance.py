"""A value that obeys a JSON schema, made of what is known about a topic; by its type where nothing is.

Understood: ``type`` (also as a list), ``properties``, ``required``, ``items``, ``enum``, ``const``, ``anyOf``,
``oneOf``, ``allOf``, ``$ref`` into the same schema, bounds of numbers, texts and arrays, ``uniqueItems``, some
``format``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from scheduler_service.sandbox.schema_rules import (
    Schema,
    any_value,
    chosen,
    fitted,
    joined,
    properties_of,
    resolved,
    same,
    types_of,
    without_repeats,
)

Words: TypeAlias = Mapping[str, Any]
"""Property names, in snake case, to what is said under them."""

MOST_ITEMS = 20
MOST_TRIES = 1_000
DEEPEST_REFERENCE = 20
LEAST_SHARED_NAMES = 2

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MONEY = re.compile(r"_(in_)?(usd|dollars|amount)$")


@dataclass(frozen=True, slots=True)
class Topic:
    """``words`` of the whole; ``things`` by name, each with words of its own; ``rows`` of several like things.

    Where nothing is ``known``, everything that may be null or empty is.
    """

    words: Words
    things: Mapping[str, Words] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Words]] = field(default_factory=dict)
    known: bool = True


def instance(schema: Schema, topic: Topic) -> Any:
    """The value; ``ValueError`` for a reference that leads nowhere or in a circle."""
    return _Answer(schema, topic).value(schema, "", topic.words)


class _Answer:
    def __init__(self, root: Schema, topic: Topic) -> None:
        self._root = root
        self._topic = topic

    def value(self, schema: Schema, name: str, words: Words, number: int = 0) -> Any:
        """The value under a property's name; ``number`` tells apart several of which nothing is known."""
        known = lookup(words, name)
        schema = self._plain(schema, known)
        types = types_of(schema)
        if "const" in schema or "enum" in schema:
            return chosen(schema.get("enum", [schema.get("const")]), known, number)
        if "null" in types and not self._can_tell(schema, name, words):
            return None
        if "object" in types:
            return self._object(schema, name, words)
        if "array" in types:
            return self._array(schema, name, words)
        kinds = sorted(types, key=lambda kind: kind == "string")  # as a text only what may not be a number
        fitting = next((one for kind in kinds if (one := fitted(kind, known, schema)) is not None), None)
        must_be_made_up = fitting is None and types and "null" not in types
        return any_value(types[0], schema, number) if must_be_made_up else fitting

    def _plain(self, schema: Schema, known: Any) -> Schema:
        """Without references and choices: of several the first that the known value fits, else one that says most."""
        for _ in range(DEEPEST_REFERENCE):
            choices = schema.get("anyOf") or schema.get("oneOf")
            if "$ref" in schema:
                schema = resolved(self._root, schema["$ref"])
            elif choices:
                rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
                schema = joined([rest, self._choice([self._plain(one, known) for one in choices], known)])
            elif parts := schema.get("allOf"):
                schema = joined([{key: value for key, value in schema.items() if key != "allOf"}, *parts])
            else:
                return schema
        raise ValueError("recursive schemas are not supported")

    def _choice(self, choices: Sequence[Schema], known: Any) -> Schema:
        fits = [one for one in choices if any(fitted(kind, known, one) is not None for kind in types_of(one))]
        telling = [one for one in choices if types_of(one) != ["null"]]
        picked = (fits or telling or choices)[0]
        if len(telling) == len(choices):
            return picked
        if known is None and {"enum", "const"} & picked.keys():
            return {"type": "null"}
        return {**picked, "type": [*types_of(picked), "null"]}

    def _can_tell(self, schema: Schema, name: str, words: Words) -> bool:
        """Whether anything is known for what may be null."""
        if not self._topic.known:
            return False
        if not name or lookup(words, name) is not None or name_of(name) in self._topic.things:
            return True
        inner = properties_of(schema) or properties_of(schema.get("items") or {})
        return any(lookup(words, one) is not None for one in inner) or bool(self._rows_for(inner))

    def _object(self, schema: Schema, name: str, words: Words) -> dict[str, Any]:
        own = {**words, **self._topic.things.get(name_of(name), {})}
        made = {key: self.value(inner, key, own) for key, inner in properties_of(schema).items()}
        return {**dict.fromkeys(schema.get("required", ()), ""), **made}

    def _array(self, schema: Schema, name: str, words: Words) -> list[Any]:
        items = schema.get("items") if isinstance(schema.get("items"), Mapping) else {}
        assert isinstance(items, Mapping)
        least = int(schema.get("minItems", 0))
        made = self._known_items(items, name, words)[: schema.get("maxItems", max(least, MOST_ITEMS))]
        made = without_repeats(made) if schema.get("uniqueItems") else made
        for number in range(MOST_TRIES):
            if len(made) >= least:
                break
            another = self.value(items, "", {}, number)
            if not schema.get("uniqueItems") or not any(same(another, one) for one in made):
                made.append(another)
        return made

    def _known_items(self, items: Schema, name: str, words: Words) -> list[Any]:
        items = self._plain(items, None)
        if "object" in types_of(items):
            rows = [row for row in self._rows_for(properties_of(items)) if self._suits(items, row)]
            return [self.value(items, "", {**words, **row}, n) for n, row in enumerate(rows)]
        known = lookup(words, name)
        several = known if isinstance(known, list | tuple) else [known]
        kinds = [kind for kind in types_of(items) if kind != "null"][:1]
        fitting = [one for said in several for kind in kinds if (one := fitted(kind, said, items)) is not None]
        return [one for one in fitting if one in items.get("enum", [one])]

    def _rows_for(self, properties: Words) -> Sequence[Words]:
        """The rows that can say most about such properties; none when they know next to nothing of them."""

        def shared(rows: Sequence[Words]) -> int:
            return max(sum(name_of(one) in row for one in properties) for row in rows)

        best = max((rows for rows in self._topic.rows.values() if rows), key=shared, default=())
        return best if best and shared(best) >= min(LEAST_SHARED_NAMES, len(properties)) > 0 else ()

    def _suits(self, items: Schema, row: Words) -> bool:
        """Whether no property with a closed list of values would misname the row."""
        for name, inner in properties_of(items).items():
            choices, known = self._plain(inner, None).get("enum"), lookup(row, name)
            if choices is not None and known is not None and known not in choices:
                return False
        return True


def lookup(words: Words, name: str) -> Any:
    """What is said under a property's name, however it is written."""
    plain = name_of(name)
    return words.get(plain, words.get(_MONEY.sub("", plain)))


def name_of(name: str) -> str:
    """``periodEnd`` and ``Period-End`` as ``period_end``."""
    return _HUMP.sub("_", name).replace("-", "_").replace(" ", "_").lower()
