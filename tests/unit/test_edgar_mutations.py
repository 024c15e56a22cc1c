"""Recorded companyfacts with one thing changed: never a wrong number, only fewer numbers."""

from __future__ import annotations

import copy
import datetime as dt
import gzip
import json
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_service.errors import ParseError
from scheduler_service.parsers import earnings
from scheduler_service.parsers.earnings import Report, read_earnings
from scheduler_service.parsers.fundamental_analysis import Metric, read_fundamentals
from scheduler_service.parsers.xbrl import CompanyFacts, parse_company_facts
from tests.unit.test_edgar_parsers import CONCEPTS, RECORDED, no_submissions, origin

CIKS = (320193, 1045810, 1640147, 1997711)
SINCE = "2023-06-01"
WANTED = {tag for concept in CONCEPTS for tag in concept.tags}
FIGURES = ("revenue", "gross_profit", "net_income", "eps_diluted", "total_debt", "equity")
ROWS_CHANGED = 100
SLIPS = 24

pytestmark = pytest.mark.parametrize("cik", CIKS)


@pytest.fixture(autouse=True)
def all_of_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is left after a loss is compared with all there was."""
    monkeypatch.setattr(earnings, "HISTORY", dt.timedelta(days=9_999))


@cache
def recorded(cik: int) -> str:
    """The tags that are read, and their rows of the last years."""
    path = RECORDED / f"companyfacts/CIK{cik:010d}.json.gz"
    if not path.exists():
        pytest.skip(f"the recording {path.name} is not here")
    body = json.loads(gzip.decompress(path.read_bytes()))
    for taxonomy, tags in body["facts"].items():
        for tag in list(tags):
            if f"{taxonomy}:{tag}" not in WANTED:
                del tags[tag]
                continue
            units = tags[tag]["units"]
            tags[tag] = {"units": {unit: [r for r in rows if r["end"] >= SINCE] for unit, rows in units.items()}}
            if not any(tags[tag]["units"].values()):
                del tags[tag]
    return json.dumps(body)


def body_of(cik: int) -> Any:
    return json.loads(recorded(cik))


def parsed(body: Any) -> CompanyFacts:
    return parse_company_facts(json.dumps(body).encode(), CONCEPTS)


def reports_of(facts: CompanyFacts) -> dict[tuple[str, dt.date], Report]:
    reports = read_earnings(facts, no_submissions(facts.cik), origin).reports
    return {(report.kind, report.period_end): report for report in reports}


@cache
def true_reports(cik: int) -> dict[tuple[str, dt.date], Report]:
    return reports_of(parsed(body_of(cik)))


@cache
def true_metrics(cik: int) -> dict[dt.date, dict[str, Metric]]:
    """By the end of the period they are of: all that a loss of the newest figures can lead back to."""
    found = {}
    for end in {end for _, end in true_reports(cik)}:
        body = body_of(cik)
        for tags in body["facts"].values():
            for content in tags.values():
                for unit, rows in content["units"].items():
                    content["units"][unit] = [
                        row for row in rows if row["end"] <= end.isoformat() or "start" not in row
                    ]
        metrics = read_fundamentals(parsed(body), origin).metrics
        found[metrics["revenue_ttm"].as_of] = metrics
    return found


def wrong_numbers(cik: int, body: Any) -> list[tuple[Any, ...]]:
    """What the changed answer says that the recorded one does not."""
    try:
        facts = parsed(body)
        reports, metrics = reports_of(facts), read_fundamentals(facts, origin).metrics
    except ParseError:
        return []
    if facts.cik != cik:
        return []
    wrong: list[tuple[Any, ...]] = []
    for key, report in reports.items():
        true = true_reports(cik).get(key)
        for name in FIGURES:
            value = getattr(report, name)
            if value is not None and (true is None or value != getattr(true, name)):
                wrong.append((key, name, value, true and getattr(true, name)))
        if true is not None and report.fiscal_label not in (None, true.fiscal_label):
            wrong.append((key, report.fiscal_label, true.fiscal_label))
    as_of = metrics["revenue_ttm"].as_of
    known = true_metrics(cik).get(as_of)
    for name, metric in metrics.items():
        if metric.value is not None and known is not None and metric.as_of == as_of:
            true_value = known[name].value
            if metric.value != true_value:
                wrong.append((as_of, name, metric.value, true_value))
    return wrong


def changes_of_tags(cik: int) -> Iterator[tuple[str, Any]]:
    """Each tag removed, renamed, retyped, doubled; and the same of what leads to its rows."""
    chosen = random.Random(cik)
    for taxonomy, tags in body_of(cik)["facts"].items():
        for tag, content in tags.items():

            def changed(value: Any, name: str = tag, taxonomy: str = taxonomy, tag: str = tag) -> Any:
                body = body_of(cik)
                of = body["facts"][taxonomy]
                del of[tag]
                if value is not None:
                    of[name] = value
                return body

            yield f"{tag} removed", changed(None)
            yield f"{tag} renamed", changed(content, name=f"{tag}Renamed")
            value: Any
            no_tag: tuple[Any, ...] = ([], "text", 7, {}, {"units": None}, {"units": []}, {"Units": content["units"]})
            for value in chosen.sample(no_tag, 2):
                yield f"{tag} is {str(value)[:20]}", changed(value)
            for unit, rows in content["units"].items():
                no_rows: tuple[Any, ...] = (
                    {unit: {}},
                    {unit: "rows"},
                    {unit.lower(): rows},
                    {f"{unit}s": rows},
                    {unit: rows * 2},
                )
                for value in chosen.sample(no_rows, 2):
                    yield f"{tag} units {str(value)[:20]}", changed({"units": value})


def test_no_loss_or_change_of_a_tag_makes_a_wrong_number(cik: int) -> None:
    wrong = {name: found for name, body in changes_of_tags(cik) if (found := wrong_numbers(cik, body))}
    assert wrong == {}


RETYPED: tuple[Any, ...] = (None, "", "text", [], {}, True, 7, "2024")


def change(row: dict[str, Any], key: str, how: object) -> None:
    value = row.pop(key)
    if how == "renamed":
        row[f"{key}_"] = value
    elif how == "as text":
        row[key] = str(value) if not isinstance(value, str) else [value]
    elif how != "removed":
        row[key] = how


def test_no_loss_or_change_of_a_field_of_a_row_makes_a_wrong_number(cik: int) -> None:
    body = body_of(cik)
    rows = [
        (row, key)
        for tags in body["facts"].values()
        for content in tags.values()
        for of_unit in content["units"].values()
        for row in of_unit
        for key in row
    ]
    chosen = random.Random(cik)
    wrong = {}
    for row, key in chosen.sample(rows, min(len(rows), ROWS_CHANGED)):
        # Another number in place of a value is another fact: nobody can tell.
        how = chosen.choice(["removed", "renamed", "as text", *(RETYPED if key != "val" else RETYPED[:-2])])
        before = dict(row)
        change(row, key, how)
        if found := wrong_numbers(cik, body):
            wrong[f"{before} {key} {how}"] = found
        row.clear()
        row.update(before)
    assert wrong == {}


def test_a_sign_or_a_scale_that_one_filing_alone_gives_makes_no_wrong_number(cik: int) -> None:
    body = body_of(cik)
    repeated = [
        row
        for tags in body["facts"].values()
        for content in tags.values()
        for unit, rows in content["units"].items()
        for row in rows
        if unit != "shares" and row["val"] and len(filings_of(row, rows)) > 1
    ]
    chosen = random.Random(cik)
    wrong = {}
    for row in chosen.sample(repeated, min(len(repeated), SLIPS)):
        value = row["val"]
        row["val"] = value * chosen.choice([-1, 1_000, 1_000_000])
        if found := wrong_numbers(cik, body):
            wrong[str(row)] = found
        row["val"] = value
    assert wrong == {}


def filings_of(row: dict[str, Any], rows: list[dict[str, Any]]) -> set[str]:
    """That carry a figure of the same period."""
    period = row.get("start"), row["end"]
    return {other["accn"] for other in rows if (other.get("start"), other["end"]) == period}


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_order_of_rows_and_tags_means_nothing(cik: int, seed: int) -> None:
    chosen, body = random.Random(seed), copy.deepcopy(body_of(cik))
    for taxonomy, tags in body["facts"].items():
        for content in tags.values():
            for rows in content["units"].values():
                chosen.shuffle(rows)
        shuffled = list(tags.items())
        chosen.shuffle(shuffled)
        body["facts"][taxonomy] = dict(shuffled)
    assert reports_of(parsed(body)) == true_reports(cik)
    assert read_fundamentals(parsed(body), origin) == read_fundamentals(parsed(body_of(cik)), origin)
