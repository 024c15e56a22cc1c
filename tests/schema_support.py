"""Whether a JSON value is valid against a schema: as much of JSON Schema 2020-12 as the documents' schemas use."""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from typing import Any

from scheduler_service.document_schema import schemas

SAYS_NOTHING = {"$schema", "$defs", "title", "description", "default"}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def valid_document(document: Any) -> Any:
    """The document; an ``AssertionError`` names what is wrong with it."""
    known = _known()
    assert document["domain"] in known, f"no schema of {document['domain']}"
    found = problems(document, known[document["domain"]])
    assert not found, found
    return document


@lru_cache(maxsize=1)
def _known() -> dict[str, Any]:
    return schemas()


def problems(value: Any, schema: dict[str, Any]) -> list[str]:
    return _problems(value, schema, schema["$defs"], "$")


def _problems(value: Any, schema: dict[str, Any], known: dict[str, Any], at: str) -> list[str]:
    found: list[str] = []
    for word, wanted in schema.items():
        match word:
            case "$ref":
                found += _problems(value, known[wanted.removeprefix("#/$defs/")], known, at)
            case "anyOf":
                ways = [_problems(value, way, known, at) for way in wanted]
                nearest = min(ways, key=len)
                found += nearest
            case "const" | "enum":
                choices = wanted if word == "enum" else [wanted]
                found += [] if value in choices else [f"{at}: {value!r} is none of {choices}"]
            case "type":
                right = isinstance(value, TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
                found += [] if right else [f"{at}: {value!r} is no {wanted}"]
            case "properties" if isinstance(value, dict):
                for name in wanted.keys() & value.keys():
                    found += _problems(value[name], wanted[name], known, f"{at}.{name}")
            case "required" if isinstance(value, dict):
                found += [f"{at}.{name} is missing" for name in wanted if name not in value]
            case "additionalProperties" if isinstance(value, dict):
                for name in value.keys() - schema.get("properties", {}).keys():
                    extra = [f"{at}.{name} is not known"]
                    found += extra if wanted is False else _problems(value[name], wanted, known, f"{at}.{name}")
            case "items" if isinstance(value, list):
                for place, inner in enumerate(value):
                    found += _problems(inner, wanted, known, f"{at}[{place}]")
            case "minLength" | "maxLength" if isinstance(value, str):
                right = len(value) >= wanted if word == "minLength" else len(value) <= wanted
                found += [] if right else [f"{at}: {word} {wanted}"]
            case "pattern" if isinstance(value, str):
                found += [] if re.search(wanted, value) else [f"{at}: {value!r} is not like {wanted}"]
            case "format" if isinstance(value, str):
                found += [] if _is(wanted, value) else [f"{at}: {value!r} is no {wanted}"]
            case "properties" | "required" | "additionalProperties" | "items" | "minLength" | "maxLength" | "pattern":
                pass
            case "format":
                pass
            case _:
                assert word in SAYS_NOTHING, f"{at}: this knows no {word}"
    return found


def _is(form: str, text: str) -> bool:
    read = {"date": dt.date.fromisoformat, "date-time": dt.datetime.fromisoformat}[form]
    try:
        read(text)
    except ValueError:
        return False
    return True
