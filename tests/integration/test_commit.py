"""One outcome, one transaction: whatever comes last, the documents are those of the newest words."""

from __future__ import annotations

import json
from contextlib import contextmanager
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, select
from sqlalchemy.pool import StaticPool

from scheduler_service.clock import DAY, MINUTE, SECOND
from scheduler_service.errors import Fenced
from scheduler_service.executors.commit import LAZY_PUBLICATION, Committed, commit
from scheduler_service.models import FollowUp, Kind, Outcome, Reason, TaskState
from scheduler_service.stores import document_store, stock_state_store, task_store
from scheduler_service.stores.schema import call, call_use, contribution, document, metadata
from tests.ledger_support import LANE, NOW, Diary, NoteData, Notes, add_run, said

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from scheduler_service.models import Notice, Symbol, Task
    from scheduler_service.stores.document_store import DocumentRow

FILING = Kind.FILING


ENGINE = create_engine("sqlite://", poolclass=StaticPool)
metadata.create_all(ENGINE)


@contextmanager
def opened() -> Iterator[Connection]:
    """An empty ledger in memory; what happened in it is rolled back."""
    with ENGINE.connect() as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def conn() -> Iterator[Connection]:
    with opened() as connection:
        yield connection


def started(conn: Connection, source: str = "desk", symbol: str = "A", due_at: int = NOW) -> Task:
    add_run(conn, [symbol], sources=[source], due_at=due_at)
    [task] = task_store.claim(conn, LANE, NOW, 1)
    return task


def store(
    conn: Connection, outcome: Outcome, *, source: str = "desk", processor: Notes | None = None, now: int = NOW
) -> Committed:
    return commit(conn, started(conn, source), outcome, processor or Notes(), now)


def doc(conn: Connection) -> DocumentRow:
    [row] = document_store.documents(conn)
    return row


def words(conn: Connection) -> list[str]:
    said_words: list[str] = json.loads(doc(conn).data)["words"]
    return said_words


def publish_after(conn: Connection) -> int | None:
    return conn.scalar(select(document.c.publish_after))


def published(conn: Connection, now: int) -> None:
    document_store.strike(conn, doc(conn), b"", now)


def test_it_stores_everything_a_task_changed(conn: Connection) -> None:
    done = store(conn, said("hello"))
    assert (done.changed, done.run.completed, done.run.closed_at) == (True, 1, NOW)
    state = stock_state_store.get_state(conn, "A", "notes", "desk")
    assert (state.status, state.checked_for, state.checked_at, state.changed_at) == ("ok", NOW, NOW, NOW)
    assert (words(conn), doc(conn).version, publish_after(conn)) == (["hello"], 1, NOW)


def test_whoever_looks_for_news_in_it_is_told_when_its_source_was_heard_before(conn: Connection) -> None:
    asked: list[tuple[str, int | None]] = []

    class Attentive(Notes):
        def notices(self, symbol: str, before: object, after: object, now: int, since: int | None) -> list[Notice]:
            asked.append((symbol, since))
            return []

    attentive = Attentive()
    store(conn, said("hello"), processor=attentive)
    store(conn, said("a second source"), source="attic", processor=attentive, now=NOW + MINUTE)
    store(conn, said("hello again", as_of=NOW + DAY), processor=attentive, now=NOW + DAY)
    assert asked == [("A", None), ("A", None), ("A", NOW)]


class Planner(Notes):
    """A word that is a number is an instant at which the stock is to be looked at again."""

    def follow_ups(self, known: NoteData, symbol: Symbol) -> Sequence[FollowUp]:
        del symbol
        return [FollowUp(word, "note.due", int(word)) for word in known.words if word.isdigit()]


def test_it_tells_whether_the_stock_is_to_be_looked_at_at_other_times(conn: Connection) -> None:
    sayings = [(), ("7",), ("7", "more"), ("8", "more"), ("8", "less"), ("8", "less"), ("less",), ("9",)]
    plans = []
    for n, words_ in enumerate(sayings):
        now = NOW + n * MINUTE
        plans.append(store(conn, said(*words_, as_of=now), processor=Planner(), now=now).plans)
    assert plans == [False, True, False, True, False, False, True, True]


def test_it_merges_what_all_sources_say_best_first(conn: Connection) -> None:
    store(conn, said("guess", kind=Kind.MODEL), source="attic")
    store(conn, said("fact"))
    assert (words(conn), doc(conn).version) == (["fact", "guess"], 2)


def test_the_same_words_again_change_nothing_and_keep_their_provenance(conn: Connection) -> None:
    store(conn, said("hello", fetched_at="first"))
    published(conn, NOW)
    done = store(conn, said("hello", fetched_at="second", as_of=NOW + MINUTE), now=NOW + MINUTE)
    assert (done.changed, done.run.unchanged) == (False, 1)
    assert b"first" in conn.scalars(select(contribution.c.body)).one()
    state = stock_state_store.get_state(conn, "A", "notes", "desk")
    assert (state.checked_at, state.changed_at) == (NOW + MINUTE, NOW)


def test_a_slow_task_that_comes_last_puts_nothing_over_newer_data(conn: Connection) -> None:
    store(conn, said("new", as_of=NOW - SECOND))
    done = store(conn, said("old", as_of=NOW - MINUTE))
    assert (done.changed, words(conn)) == (False, ["new"])


def test_what_was_confirmed_meanwhile_counts_as_newer_too(conn: Connection) -> None:
    store(conn, said("same", as_of=NOW - 3 * MINUTE))
    store(conn, said("same", as_of=NOW - MINUTE))
    store(conn, said("other", as_of=NOW - 2 * MINUTE))
    assert words(conn) == ["same"]


def test_data_from_a_clock_that_was_ahead_is_replaced(conn: Connection) -> None:
    store(conn, said("tomorrow", as_of=NOW + DAY), now=NOW + DAY)
    store(conn, said("today", as_of=NOW))
    assert words(conn) == ["today"]
    store(conn, said("earlier", as_of=NOW - MINUTE))
    assert words(conn) == ["today"]


SAYINGS = [
    ("desk", said("a", as_of=NOW - 3 * MINUTE, kind=FILING)),
    ("desk", said("b", "c", as_of=NOW - MINUTE, kind=FILING)),
    ("attic", said("x", as_of=NOW - 3 * MINUTE, kind=Kind.MODEL)),
    ("attic", said("y", as_of=NOW - MINUTE, kind=Kind.MODEL)),
]


@pytest.mark.parametrize(("domain", "result"), [(Notes(), ["b", "c", "y"]), (Diary(), ["a", "b", "c", "x", "y"])])
def test_the_document_does_not_depend_on_who_comes_first(domain: Notes, result: list[str]) -> None:
    for order in permutations(SAYINGS):
        with opened() as conn:
            for source, outcome in order:
                store(conn, outcome, source=source, processor=domain)
            assert words(conn) == result, order


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(5)), st.lists(st.sampled_from(["p", "q", "r"]), min_size=5, max_size=5))
def test_the_newest_answer_decides_in_any_order_even_when_words_come_back(
    order: Sequence[int], texts: list[str]
) -> None:
    with opened() as conn:
        for age in order:
            store(conn, said(texts[age], as_of=NOW - age * SECOND))
        assert words(conn) == [texts[0]]


def test_a_late_writer_stores_nothing_at_all(conn: Connection) -> None:
    task = started(conn)
    task_store.recover(conn, NOW)
    with pytest.raises(Fenced), conn.begin_nested():
        commit(conn, task, said("late"), Notes(), NOW)
    assert document_store.documents(conn) == []
    assert document_store.contributions(conn, "notes", "A") == {}
    assert stock_state_store.get_state(conn, "A", "notes", "desk").status == "never"


def test_a_failure_leaves_the_words_and_says_so_in_the_envelope(conn: Connection) -> None:
    store(conn, said("hello"))
    published(conn, NOW)
    failed = Outcome(TaskState.FAILED, Reason.TIMEOUT, "slow")
    for failures in (1, 2):
        assert store(conn, failed, now=NOW + SECOND).run.failed == 1
        state = stock_state_store.get_state(conn, "A", "notes", "desk")
        assert (state.status, state.reason, state.failures) == ("failed", "timeout", failures)
        assert (state.checked_at, state.changed_at) == (NOW, NOW)
    assert (words(conn), publish_after(conn)) == (["hello"], NOW + LAZY_PUBLICATION)
    store(conn, said("hello"), now=NOW + 2 * SECOND)
    assert stock_state_store.get_state(conn, "A", "notes", "desk").failures == 0


def test_a_skipped_task_touches_neither_state_nor_document(conn: Connection) -> None:
    store(conn, said("hello"))
    published(conn, NOW)
    done = store(conn, Outcome(TaskState.SKIPPED, Reason.FRESH), now=NOW + MINUTE)
    assert (done.changed, done.run.skipped, publish_after(conn)) == (False, 1, None)
    assert stock_state_store.get_state(conn, "A", "notes", "desk").checked_at == NOW


def test_a_task_of_a_domain_that_is_gone_can_still_end(conn: Connection) -> None:
    done = commit(conn, started(conn), Outcome(TaskState.SKIPPED, Reason.PROVIDER_OFF), None, NOW)
    assert done.run.skipped == 1


def test_a_later_check_for_an_earlier_slot_does_not_make_the_stock_older(conn: Connection) -> None:
    commit(conn, started(conn, due_at=NOW), said("a"), Notes(), NOW)
    commit(conn, started(conn, due_at=NOW - DAY), said("a"), Notes(), NOW + SECOND)
    assert stock_state_store.get_state(conn, "A", "notes", "desk").checked_for == NOW


def test_only_moved_times_are_published_at_most_once_a_minute_and_news_at_once(conn: Connection) -> None:
    store(conn, said("hello"))
    published(conn, NOW)
    assert publish_after(conn) is None
    for seconds in (1, 20, 59):
        store(conn, said("hello"), now=NOW + seconds * SECOND)
        assert publish_after(conn) == NOW + MINUTE
    store(conn, said("news"), now=NOW + 59 * SECOND)
    assert publish_after(conn) == NOW + 59 * SECOND
    published(conn, NOW + 59 * SECOND)
    store(conn, said("news"), now=NOW + DAY)
    assert publish_after(conn) == NOW + DAY


def test_a_publication_that_a_wrong_clock_put_off_is_made_up_for(conn: Connection) -> None:
    store(conn, said("hello"))
    published(conn, NOW + 30 * DAY)
    store(conn, said("hello"), now=NOW + 30 * DAY)
    assert publish_after(conn) == NOW + 30 * DAY + MINUTE
    store(conn, said("hello"), now=NOW)
    assert publish_after(conn) == NOW


def test_it_marks_the_answers_it_used_as_consumed(conn: Connection) -> None:
    task = started(conn)
    for call_id in (1, 2):
        values = {"resource_key": "k", "provider": LANE, "state": "kept", "usd_micros": 0, "tokens": 0}
        conn.execute(insert(call).values(id=call_id, reserved_at=NOW, settled_at=NOW, **values))
    conn.execute(insert(call_use).values(task_id=task.id, call_id=1, how="asked"))
    outcome = Outcome(TaskState.FAILED, Reason.UNREADABLE, calls=(1, 2))
    commit(conn, task, outcome, Notes(), NOW)
    uses = conn.execute(select(call_use.c.call_id, call_use.c.how, call_use.c.consumed_at)).all()
    assert [tuple(use) for use in uses] == [(1, "asked", NOW), (2, "kept", NOW)]


def test_a_document_that_could_not_be_named_is_not_stored(conn: Connection) -> None:
    task = started(conn, symbol="\U0001f680" * 64)
    with pytest.raises(ValueError, match="64 bytes"):
        commit(conn, task, said("hello"), Notes(), NOW)
