"""Answers obey the schema they were asked for, whatever the schema. The validator here knows what ``Schemas`` draw."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_service.clock import from_iso, utc_day
from scheduler_service.sandbox.bundle import bundled
from scheduler_service.sandbox.model_knowledge import topic_of, unknown_topic
from scheduler_service.sandbox.reported import reported
from scheduler_service.sandbox.schema_instance import Topic, instance, name_of
from scheduler_service.sandbox.schema_rules import unsupported
from scheduler_service.sandbox.search_results import found

NOW = from_iso("2026-11-23T14:30:00Z")
NAMES = (
    *("ticker", "company", "revenue", "netIncome", "eps_diluted", "period_end", "kind", "reports", "metrics", "name"),
    *("value", "unit", "as_of", "source", "sources", "sentiment", "stories", "title", "url", "analysis", "next_report"),
    *("date", "confirmed", "currency", "what_nobody_expects", "gross_margin", "risks", "filed-on", "revenue_usd"),
)
KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
    "array": list,
    "object": dict,
}


def topic(symbol: str = "AAPL") -> Topic:
    (company,) = (one for one in bundled() if one.profile.symbol == symbol)
    today = utc_day(NOW)
    told = reported(company, sum(filing.filed <= today.isoformat() for filing in company.filings))
    return topic_of(company, told, found(company.profile, told, NOW), today)


def is_a(kind: str, value: Any) -> bool:
    return isinstance(value, KINDS[kind]) and (isinstance(value, bool) <= (kind == "boolean"))


def wrong(schema: dict[str, Any], value: Any, root: dict[str, Any] | None = None, at: str = "$") -> list[str]:
    """What of the value does not obey the schema."""
    root = root or schema
    if "$ref" in schema:
        return wrong(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], value, root, at)
    if "anyOf" in schema:
        return [] if any(not wrong(one, value, root, at) for one in schema["anyOf"]) else [f"{at}: none of anyOf"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{at}: {value!r} is none of {schema['enum']}"]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(is_a(kind, value) for kind in kinds):
        return [f"{at}: {value!r} is no {kinds}"]
    found: list[str] = []
    match value:
        case dict():
            found += [f"{at}: no {name}" for name in schema.get("required", ()) if name not in value]
            found += [f"{at}: {name} is not allowed" for name in value if name not in schema["properties"]]
            for name, inner in schema["properties"].items():
                found += wrong(inner, value[name], root, f"{at}.{name}") if name in value else []
        case list():
            if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
                found.append(f"{at}: {len(value)} items")
            if schema.get("uniqueItems") and any(one in value[:n] for n, one in enumerate(value)):
                found.append(f"{at}: repeats itself")
            for n, one in enumerate(value):
                found += wrong(schema["items"], one, root, f"{at}[{n}]")
        case str():
            if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
                found.append(f"{at}: {len(value)} characters")
        case bool() | None:
            pass
        case _:
            if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
                found.append(f"{at}: {value} out of bounds")
            if "multipleOf" in schema and value % schema["multipleOf"]:
                found.append(f"{at}: {value} is no multiple of {schema['multipleOf']}")
    return found


def scalars() -> st.SearchStrategy[dict[str, Any]]:
    numbers, small = st.sampled_from(["integer", "number"]), st.integers(0, 99)
    bounds = st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 10**9))
    choices = st.lists(st.sampled_from(["quarter", "year", "positive", None, 3]), min_size=1, unique=True)
    kinds = st.sampled_from(["string", "number", "integer", "boolean"])
    return st.one_of(
        kinds.map(lambda kind: {"type": kind}),
        st.builds(lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more}, small, small),
        st.builds(lambda kind, b: {"type": kind, "minimum": b[0], "maximum": b[0] + b[1]}, numbers, bounds),
        st.builds(lambda kind, n: {"type": kind, "multipleOf": n}, numbers, st.integers(1, 10**6)),
        kinds.map(lambda kind: {"type": [kind, "null"]}),
        kinds.map(lambda kind: {"anyOf": [{"type": kind}, {"type": "null"}]}),
        choices.map(lambda values: {"enum": values}),
        st.just({"$ref": "#/$defs/Source"}),
    )


def containers(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def objects(properties: dict[str, dict[str, Any]], nullable: bool) -> dict[str, Any]:
        kind: Any = ["object", "null"] if nullable else "object"
        strict = {"required": sorted(properties), "additionalProperties": False}
        return {"type": kind, "properties": properties, **strict}

    def arrays(items: dict[str, Any], least: int, more: int | None) -> dict[str, Any]:
        most = {} if more is None else {"maxItems": least + more}
        return {"type": "array", "items": items, "minItems": least, **most}

    distinct = st.sampled_from([{"type": "string"}, {"type": "integer"}])
    return st.one_of(
        st.builds(objects, st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=6), st.booleans()),
        st.builds(arrays, inner, st.integers(0, 3), st.one_of(st.none(), st.integers(0, 4))),
        st.builds(lambda items, n: arrays(items, n, 9) | {"uniqueItems": True}, distinct, st.integers(0, 5)),
    )


SCHEMAS = containers(st.recursive(scalars(), containers, max_leaves=12)).map(
    lambda schema: schema | {"$defs": {"Source": {"type": ["integer", "null"]}}}
)
TOPICS = [topic("AAPL"), topic("HOOLX"), topic("SNOW"), unknown_topic()]


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, st.sampled_from(TOPICS))
def test_whatever_is_asked_the_answer_obeys_its_schema(schema: dict[str, Any], about: Topic) -> None:
    assert unsupported(schema) is None
    value = instance(schema, about)
    assert wrong(schema, value) == []
    assert instance(schema, about) == value


def row(*names: str) -> dict[str, Any]:
    properties = {name: {"type": ["string", "number", "null"]} for name in names}
    return {"type": "object", "properties": properties, "required": list(names)}


def asked(name: str, *names: str, about: Topic | None = None) -> Any:
    """The rows of a list under this name, whose rows have these properties."""
    schema = {"type": "object", "properties": {name: {"type": "array", "items": row(*names)}}}
    return instance(schema, about or topic())[name]


def test_rows_are_told_by_what_their_properties_are_called() -> None:
    reports = asked("anything", "periodEnd", "net_income", "filed_on")
    assert reports[0] == {"periodEnd": "2025-12-27", "net_income": 42_097_000_000, "filed_on": "2026-01-30"}
    figures = {one["metric"]: one["value"] for one in asked("rows", "metric", "value", "unit")}
    assert figures["cash"] == 45_317_000_000
    assert len(figures) == 13
    stories = asked("list", "headline", "link", "tone")
    assert all("Apple" in one["headline"] and one["link"].startswith("https://") for one in stories)


def test_what_a_row_does_not_know_is_null_and_not_another_row_s() -> None:
    fourth = next(
        one
        for one in asked("q", "kind", "end", "eps_diluted")
        if (one["kind"], one["end"]) == ("quarter", "2025-09-27")
    )
    assert fourth["eps_diluted"] is None


def test_a_closed_list_of_names_leaves_the_other_rows_out() -> None:
    items = row("name", "value", "unit")
    items["properties"]["name"] = {"type": "string", "enum": ["cash", "equity"]}
    schema = {"type": "object", "properties": {"metrics": {"type": "array", "items": items}}}
    assert [one["name"] for one in instance(schema, topic())["metrics"]] == ["cash", "equity"]


def test_a_thing_can_be_asked_for_by_its_name() -> None:
    thing = row("value", "unit", "as_of")
    schema = {"type": "object", "properties": {"gross_margin": thing, "next_report": row("date", "time")}}
    said = instance(schema, topic())
    assert said["gross_margin"] == {"value": 0.4733, "unit": "ratio", "as_of": "2025-12-27"}
    assert said["next_report"]["date"] > "2026-11-23"


def test_of_an_unknown_company_nothing_is_said() -> None:
    properties = {
        "ticker": {"type": ["string", "null"]},
        "reports": {"type": "array", "items": row("period_end")},
        "next_report": {"anyOf": [row("date"), {"type": "null"}]},
        "analysis": {"type": "string"},
    }
    said = instance({"type": "object", "properties": properties}, unknown_topic())
    assert said == {
        "ticker": None,
        "reports": [],
        "next_report": None,
        "analysis": "Nothing is known of this company in the sandbox.",
    }


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "object"}, "unconstrained"),
        ({"type": "object", "additionalProperties": True}, "unconstrained"),
        ({"type": "array", "items": {"type": "object", "patternProperties": {"a": {}}}}, "patternProperties"),
        ({"type": "object", "properties": {"more": {"$ref": "#"}}}, "recursive"),
        ({"$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}}}, "$ref": "#/$defs/A"}, "recursive"),
        ({"type": "array", "items": {"$ref": "#/$defs/None"}}, "leads nowhere"),
        ({"type": "array", "items": {"$ref": "https://example.com/x"}}, "leads nowhere"),
    ],
)
def test_what_a_model_cannot_be_held_to_is_named(schema: dict[str, Any], problem: str) -> None:
    assert problem in (unsupported(schema) or "")


def test_names_are_read_however_they_are_written() -> None:
    assert [name_of(name) for name in ("periodEnd", "Period-End", "period end", "period_end")] == ["period_end"] * 4
