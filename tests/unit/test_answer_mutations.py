"""Recorded answers with one thing changed, and broken off: never another page or text, only fewer."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler_service.errors import ParseError
from scheduler_service.parsers.earnings import EarningsData
from scheduler_service.parsers.model_answer import ModelAnswer, read_answer
from scheduler_service.parsers.submissions import Submissions, parse_submissions
from tests import model_support as model

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
ANSWERS = sorted((FIXTURES / "perplexity").glob("*-[wc]*.json")) if FIXTURES.exists() else []
RETYPED: tuple[Any, ...] = (None, 7, "text", [], {}, True, -1.5)
SUBMISSIONS = sorted((FIXTURES / "edgar/submissions").glob("CIK??????????.json*")) if FIXTURES.exists() else []


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a JSON value but its root."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield (*path, key)
        yield from places(below, (*path, key))


def changed(body: Any, path: tuple[str | int, ...]) -> Iterator[Any]:
    """With what stands at one place removed, renamed, retyped or doubled."""

    def holder(made: Any) -> Any:
        for key in path[:-1]:
            made = made[key]
        return made

    for retyped in RETYPED:
        made = copy.deepcopy(body)
        holder(made)[path[-1]] = retyped
        yield made
    removed = copy.deepcopy(body)
    value = holder(removed).pop(path[-1])
    yield removed
    other = copy.deepcopy(removed)
    if isinstance(holder(other), dict):
        holder(other)[f"{path[-1]}_renamed"] = value
    else:
        holder(other).extend([value, value])
    yield other


def read_or_none(body: bytes) -> ModelAnswer | None:
    try:
        return read_answer(body)
    except ParseError:
        return None


def pages(answer: ModelAnswer) -> set[tuple[str, str]]:
    return {(page.url, page.title) for page in answer.results}


@pytest.mark.skipif(not ANSWERS, reason="the recordings are not here")
@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.name)
def test_a_changed_answer_tells_no_other_text_and_no_other_page(path: Path) -> None:
    body = json.loads(path.read_bytes())
    true = read_or_none(path.read_bytes())
    for place in places(body):
        for made in changed(body, place):
            answer = read_or_none(json.dumps(made).encode())
            if answer is None:
                continue
            if true is None:
                assert place[0] in ("choices", "output", "citations", "search_results"), place
                continue
            assert answer.text in (true.text, 2 * true.text, "text", *_texts(body)), place
            assert {url for url, _ in pages(answer)} <= {url for url, _ in pages(true)} | _addresses(body), place
            known = {page.url: page.published for page in true.results}
            for page in answer.results:
                assert page.published in (None, known.get(page.url)), place


@pytest.mark.skipif(not ANSWERS, reason="the recordings are not here")
@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.name)
def test_an_answer_that_breaks_off_is_none(path: Path) -> None:
    body = path.read_bytes().rstrip()
    for end in range(0, len(body), max(1, len(body) // 200)):
        assert read_or_none(body[:end]) is None


def _texts(value: Any) -> set[str]:
    found = {value} if isinstance(value, str) else set()
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        found |= _texts(inner)
    return {text.strip() for text in found}


def _addresses(body: Any) -> set[str]:
    return {text for text in _texts(body) if text.startswith("http")}


@pytest.mark.skipif(not SUBMISSIONS, reason="the recordings are not here")
@pytest.mark.parametrize("path", SUBMISSIONS, ids=lambda path: path.name[:13])
def test_a_changed_list_of_filings_tells_no_other_filing(path: Path) -> None:
    body = _short(path)
    true = {filing.accession: filing for filing in parse_submissions(json.dumps(body).encode()).filings}
    columns = body["filings"]["recent"]
    for name, column in columns.items():
        variants: list[Any] = [None, [], "text", column[1:], [*column, *column[:1]], column[::-1], [None] * len(column)]
        for variant in variants:
            made = copy.deepcopy(body)
            made["filings"]["recent"][name] = variant
            _tells_nothing_else(made, true, name, reordered=variant == column[::-1])
        for other in (f"{name}_renamed", None):
            made = copy.deepcopy(body)
            value = made["filings"]["recent"].pop(name)
            if other is not None:
                made["filings"]["recent"][other] = value
            _tells_nothing_else(made, true, name, reordered=False)


def _tells_nothing_else(made: Any, true: dict[str, Any], column: str, *, reordered: bool) -> None:
    try:
        read: Submissions = parse_submissions(json.dumps(made).encode())
    except ParseError:
        return
    for filing in read.filings:
        if filing.accession not in true or reordered:
            continue  # another order is another list: nothing in it tells them apart
        known = true[filing.accession]
        for name in ("form", "filed", "items", "document", "period"):
            value = getattr(filing, name)
            assert value in (None, "", (), getattr(known, name)), (column, name, filing)


def _short(path: Path) -> Any:
    import gzip

    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    body = json.loads(raw)
    recent = body["filings"]["recent"]
    body["filings"]["recent"] = {name: column[:40] for name, column in recent.items()}
    return body


@pytest.mark.skipif(not ANSWERS, reason="the recordings are not here")
@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.name)
def test_figures_in_a_changed_envelope_are_never_others(path: Path) -> None:
    """The envelopes are recorded, the figures in them synthetic: no recorded answer is structured."""
    body = json.loads(path.read_bytes())
    text = json.dumps(model.earnings(model.rows()))
    if "output" in body:
        body["output"][-1]["content"][0]["text"] = text
    else:
        body["choices"][0]["message"]["content"] = text
    whole = _figures(body)
    assert (whole is None) is (path.name == "chat-usage-cost-sanitized.json")
    for place in places(body):
        for made in changed(body, place):
            found = _figures(made)
            assert found is None or list(model.wrong_reports(found.reports)) == [], place


@pytest.mark.skipif(not ANSWERS, reason="the recordings are not here")
@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.name)
def test_a_recorded_answer_in_words_states_no_figure(path: Path) -> None:
    assert _figures(json.loads(path.read_bytes())) is None


def _figures(body: Any) -> EarningsData | None:
    try:
        return model.earnings_document(json.dumps(body).encode())
    except ParseError:
        return None
