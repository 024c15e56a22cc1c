"""A schema for each domain: published, strict, and true of the documents."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from scheduler_service.cli.commands import cli
from scheduler_service.document_schema import schema_of, schemas
from scheduler_service.models import Record
from scheduler_service.processors.base import discover
from tests.contract.bench import on_the_bench
from tests.schema_support import problems, valid_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOMAINS = sorted(discover())


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for inner in schema.values():
            yield from objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects(inner)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_published_schema_is_that_of_the_types(domain: str) -> None:
    published = files("scheduler_service") / "schemas" / f"{domain}.json"
    again = f"write it anew: scheduler-service schema {domain} > scheduler_service/schemas/{domain}.json"
    assert json.loads(published.read_text(encoding="utf-8")) == schemas()[domain], again


def test_no_schema_is_published_of_what_is_no_domain() -> None:
    assert sorted(file.name for file in (files("scheduler_service") / "schemas").iterdir()) == [
        f"{domain}.json" for domain in DOMAINS
    ]


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_object_takes_what_is_not_named(domain: str) -> None:
    found = list(objects(schemas()[domain]))
    assert len(found) > 3
    assert all("additionalProperties" in schema for schema in found)


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_command_prints_it_without_a_configuration(flags: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["-c", str(tmp_path / "absent.yaml"), "schema", "news", *flags])
    assert (result.exit_code, json.loads(result.stdout)) == (0, schemas()["news"])


def test_an_unknown_domain_is_told_with_the_known_ones() -> None:
    result = CliRunner().invoke(cli, ["schema", "nws"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no domain 'nws'; known here: earnings, fundamentals, news, quotes" in result.stderr


def test_a_domain_of_its_own_has_a_schema_at_once() -> None:
    class Weather(Record):
        sky: str
        seen_at: str | None = None

    schema = schema_of("weather", Weather)["properties"]["data"]
    assert schema["required"] == ["sky"]
    assert {"type": "string", "format": "date-time", "pattern": "Z$"} in schema["properties"]["seen_at"]["anyOf"]


@pytest.mark.parametrize(
    ("domain", "source"), [(name, source.name) for name in DOMAINS for source in discover()[name].sources]
)
async def test_a_document_of_every_source_is_valid_and_a_wrong_one_is_not(
    tmp_path: Path, domain: str, source: str
) -> None:
    async with on_the_bench(tmp_path, domain, source) as bench:
        await bench.fetch("AAPL")
        document = await bench.on_disk("AAPL")
    assert document is not None
    schema = schemas()[domain]
    assert problems(valid_document(document), schema) == []
    for path in (("more",), ("data", "more"), ("sources", source, "more")):
        wrong = copy.deepcopy(document)
        place = wrong
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = 1
        assert len(problems(wrong, schema)) == 1
    for name in ("symbol", "data", "changed_at"):
        assert problems({key: value for key, value in document.items() if key != name}, schema)
        assert problems({**document, name: 1}, schema)
