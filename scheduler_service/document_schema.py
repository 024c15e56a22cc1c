"""What documents look like, as JSON Schema 2020-12: one for each domain, made of the domain's own record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler_service.models import Reason
from scheduler_service.processors.base import discover
from scheduler_service.stores.publisher import SCHEMA_VERSION
from scheduler_service.stores.stock_state_store import FAILED, OK

if TYPE_CHECKING:
    from scheduler_service.models import Record

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NEVER = "never"
_TIME = {"type": "string", "format": "date-time", "pattern": "Z$"}
_PERHAPS_A_TIME = {"anyOf": [_TIME, {"type": "null"}]}


def schemas(package: str = "scheduler_service.processors") -> dict[str, dict[str, Any]]:
    """Domain name to the schema of its documents, of every domain there is."""
    return {name: schema_of(name, processor.record) for name, processor in sorted(discover(package).items())}


def schema_of(domain: str, record: type[Record]) -> dict[str, Any]:
    """The envelope around a domain's record. What has a default may be absent where an older version wrote it."""
    data = _told(record.model_json_schema(mode="serialization"))
    definitions = data.pop("$defs", {})
    source = {
        "checked_at": _PERHAPS_A_TIME,
        "changed_at": _PERHAPS_A_TIME,
        "status": {"enum": [NEVER, OK, FAILED]},
        "reason": {"enum": [*map(str, Reason), None]},
    }
    envelope = {
        "schema_version": {"const": SCHEMA_VERSION},
        "domain": {"const": domain},
        "symbol": {"type": "string", "minLength": 1, "maxLength": 64},
        "sandbox": {"type": "boolean", "description": "Whether this is no real data."},
        "checked_at": {**_PERHAPS_A_TIME, "description": "Of the required source that was checked longest ago."},
        "changed_at": _TIME,
        "sources": {"type": "object", "additionalProperties": _closed(source)},
        "data": data,
    }
    return {"$schema": DIALECT, "title": f"A document of {domain}", **_closed(envelope), "$defs": definitions}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has all of these, and nothing else."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _told(schema: Any, name: str = "") -> Any:
    """Without titles, which only repeat names; what is called ``..._at`` is a time in UTC."""
    if isinstance(schema, list):
        return [_told(inner, name) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    told: dict[str, Any] = dict(_TIME) if schema.get("type") == "string" and name.endswith("_at") else {}
    for key, inner in schema.items():
        if key in ("properties", "$defs"):
            told[key] = {each: _told(one, each) for each, one in inner.items()}
        elif key in ("default", "enum", "const"):
            told[key] = inner
        elif key == "description":
            told[key] = " ".join(inner.replace("``", "").split())
        elif key != "title" or not isinstance(inner, str):
            told[key] = _told(inner, name)
    return told
