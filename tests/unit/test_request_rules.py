from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler_service.calls import Request, Resource
from scheduler_service.clock import DAY, HOUR, MINUTE, from_iso
from scheduler_service.gates.request import conditional, is_good, request_hash
from scheduler_service.stores.call_store import KeptRow

NOW = from_iso("2026-11-23T14:30:00Z")
REQUEST = Request("https://data.example/thing", headers=(("User-Agent", "a"),))
RESOURCE = Resource("plain", "plain:thing", REQUEST, max_age=HOUR)
FILED = replace(RESOURCE, revision="0001")
ROW = KeptRow(
    call_id=7,
    revision=None,
    etag='"v1"',
    last_modified="Mon, 23 Nov 2026 14:00:00 GMT",
    sha256=b"s",
    request_sha256=request_hash(REQUEST),
    url=REQUEST.url,
    sandbox=False,
    fetched_at=NOW - DAY,
    checked_at=NOW - 10 * MINUTE,
    body=None,
    mine=False,
)


def test_it_names_a_request_by_what_is_asked_and_not_by_who_asks() -> None:
    assert request_hash(replace(REQUEST, headers=())) == request_hash(REQUEST)
    others = (
        replace(REQUEST, url=REQUEST.url + "s"),
        replace(REQUEST, method="POST"),
        replace(REQUEST, body=b"question"),
    )
    assert len({request_hash(r) for r in (REQUEST, *others)}) == 4


@pytest.mark.parametrize(("age", "good"), [(0, True), (HOUR - 1, True), (HOUR, False), (-1, False), (-DAY, False)])
def test_it_serves_while_younger_than_its_age_and_never_out_of_the_future(age: int, good: bool) -> None:
    assert is_good(replace(ROW, checked_at=NOW - age), RESOURCE, None, NOW) is good


def test_it_counts_the_age_from_the_last_check_and_not_from_the_body() -> None:
    assert is_good(replace(ROW, fetched_at=NOW - 365 * DAY), RESOURCE, None, NOW)


@pytest.mark.parametrize(("kept_under", "good"), [("0001", True), ("0000", False), (None, False)])
def test_it_serves_a_revision_at_any_age_and_no_other_however_young(kept_under: str | None, good: bool) -> None:
    for age in (0, 365 * DAY):
        assert is_good(replace(ROW, revision=kept_under, checked_at=NOW - age), FILED, None, NOW) is good


def test_it_serves_a_person_who_forces_only_what_was_checked_since() -> None:
    for resource in (RESOURCE, FILED):
        row = replace(ROW, revision="0001")
        assert not is_good(row, resource, NOW - 5 * MINUTE, NOW)
        assert is_good(row, resource, NOW - 10 * MINUTE, NOW)


@pytest.mark.parametrize("since", [None, NOW])
def test_it_serves_what_the_task_has_paid_for_at_any_age(since: int | None) -> None:
    for checked in (NOW - 365 * DAY, NOW + DAY):
        assert is_good(replace(ROW, mine=True, checked_at=checked), FILED, since, NOW)


def test_it_never_serves_the_answer_to_another_question() -> None:
    asked = replace(RESOURCE, request=replace(REQUEST, url="https://data.example/else"))
    assert not is_good(replace(ROW, mine=True), asked, None, NOW)


def test_it_makes_a_request_conditional_by_what_the_answer_was_marked_with() -> None:
    headers = dict(conditional(REQUEST, ROW).headers)
    assert headers == {
        "User-Agent": "a",
        "If-None-Match": '"v1"',
        "If-Modified-Since": "Mon, 23 Nov 2026 14:00:00 GMT",
    }
    assert "If-None-Match" not in dict(conditional(REQUEST, replace(ROW, etag=None)).headers)


def test_it_sends_the_request_as_it_is_without_an_answer_of_its_own_or_without_validators() -> None:
    assert conditional(REQUEST, None) == REQUEST
    assert conditional(REQUEST, replace(ROW, etag=None, last_modified=None)) == REQUEST
    other = replace(REQUEST, url="https://data.example/else")
    assert conditional(other, ROW) == other
