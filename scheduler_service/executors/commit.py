"""One outcome, one transaction, fenced by the attempt: task, run, stock state, contribution, document, calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scheduler_service.failure_memory import quarantined_until
from scheduler_service.models import Contribution, Outcome, Reason, RunOrigin, Symbol, TaskState
from scheduler_service.processors.base import content_hash
from scheduler_service.stores import (
    call_store,
    document_store,
    doubt_store,
    notice_store,
    stock_state_store,
    task_store,
)
from scheduler_service.stores.document_store import ContributionRow

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import FollowUp, Record, Task
    from scheduler_service.processors.base import Processor
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.doubt_store import DoubtfulRow
    from scheduler_service.stores.schedule_store import RunRow

_OVERRULED = "it was doubtful, and is believed: it was said again and again, what was believed before was not"
LAZY_PUBLICATION: Micros = 60_000_000
"""A document of which only the times of the last checks moved is published at most this often."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit changed. ``run`` is as it stands now; closed when this was its last task.

    ``is_urgent``: its document is to be published now, and not when the publisher comes by.
    ``quarantined_until``: from now on the stock is left alone at this source. ``instead``: what was stored in the place
    of the outcome: its answer is doubtful, or was; ``newly_doubtful``: and not the one that was set aside before.
    ``noticed``: there are new notices. ``plans``: the stock is to be looked at again at other times than before.
    """

    changed: bool
    run: RunRow
    is_urgent: bool
    quarantined_until: Instant | None = None
    instead: Outcome | None = None
    newly_doubtful: bool = False
    noticed: bool = False
    plans: bool = False


@dataclass(frozen=True, slots=True)
class _Contributed:
    """``doubt``: what speaks against what the source says; it was set aside. ``overruled``: the same, of what was
    believed in the end.
    """

    changed: bool = False
    doubt: str | None = None
    newly_doubtful: bool = False
    overruled: str | None = None


def commit(conn: Connection, task: Task, outcome: Outcome, processor: Processor[Any] | None, now: Instant) -> Committed:
    """Stores an outcome whole or not at all. Raises ``Fenced`` for a late writer.

    A task whose domain is gone has no processor, and nothing to contribute.
    """
    done = _Contributed() if processor is None else _contribute(conn, task, outcome, processor, now)
    changed, noticed, plans = done.changed, False, False
    if changed and processor is not None:
        before = document_store.data(conn, task.domain, task.symbol)
        data = _merged(conn, task.domain, task.symbol, processor)
        changed = document_store.put_document(conn, task.domain, task.symbol, data, now)
        if changed:
            former, known = None if before is None else processor.read(before), processor.read(data)
            noticed = _notice(conn, task.symbol, task.source, processor, former, known, now)
            plans = _plans(processor, task.symbol, former) != _plans(processor, task.symbol, known)
    if done.doubt is not None:
        outcome = replace(outcome, state=TaskState.FAILED, reason=Reason.DOUBTFUL, message=done.doubt)
        call_store.distrust(conn, outcome.calls)
    elif done.overruled is not None:
        outcome = replace(outcome, message=f"{_OVERRULED}: {done.overruled}")
    completed, reread = outcome.state is TaskState.COMPLETED, task.origin is RunOrigin.REPARSE
    run = task_store.end(conn, task, outcome, unchanged=completed and not changed, now=now)
    stock = (task.symbol, task.domain, task.source)
    first, quarantined = False, None
    if completed and reread:
        stock_state_store.reread(conn, *stock, as_of=outcome.as_of, changed=changed, now=now)
    elif completed:
        asked_at = outcome.as_of or None
        first = stock_state_store.checked(conn, *stock, due_at=task.due_at, changed=changed, now=now, asked_at=asked_at)
    elif outcome.state is TaskState.FAILED and not reread:
        quarantined = quarantined_until(stock_state_store.failed(conn, *stock, reason=outcome.reason, now=now))
    if not changed and outcome.state is not TaskState.SKIPPED:
        pause = 0 if first else LAZY_PUBLICATION  # the first check may make the document complete
        document_store.refresh_envelope(conn, task.domain, task.symbol, pause=pause, now=now)
    call_store.consume(conn, task.id, outcome.calls, now)
    instead = outcome if done.doubt or done.overruled else None
    return Committed(changed, run, changed or first, quarantined, instead, done.newly_doubtful, noticed, plans)


def accept(conn: Connection, row: DoubtfulRow, processor: Processor[Any], now: Instant) -> bool:
    """What was set aside is right, a person says: it takes its place, and the document follows. Returns whether there
    are new notices.
    """
    domain, symbol, source, new = row.domain, row.symbol, row.source, row.contribution
    before = document_store.contributions(conn, domain, symbol).get(source)
    said = processor.accumulate(None if before is None else processor.read(before.body), processor.read(new.body), now)
    body = said.model_dump_json().encode()
    accepted = replace(new, body=body, sha256=content_hash(said))
    document_store.put_contribution(conn, domain, symbol, accepted, task_id=row.task_id, now=now)
    doubt_store.clear(conn, domain, symbol, source, as_of=new.as_of, now=now)
    published, data = document_store.data(conn, domain, symbol), _merged(conn, domain, symbol, processor)
    changed, noticed = document_store.put_document(conn, domain, symbol, data, now), False
    if changed:
        former = None if published is None else processor.read(published)
        noticed = _notice(conn, symbol, source, processor, former, processor.read(data), now)
    stock_state_store.reread(conn, symbol, domain, source, as_of=new.as_of, changed=True, now=now)
    if changed:
        return noticed
    document_store.refresh_envelope(conn, domain, symbol, pause=0, now=now)
    return False


def _contribute(
    conn: Connection, task: Task, outcome: Outcome, processor: Processor[Any], now: Instant
) -> _Contributed:
    """What the source says now, on top of what it said, in the order in which it was said: a slow task that comes last
    puts nothing over newer data. Old words stay, with their provenance, when nothing is new. What is doubtful is set
    aside, unless what was said before was said once and this is said again and again.
    """
    if outcome.contribution is None or outcome.kind is None:
        return _Contributed()
    content = document_store.content_of(conn, task.domain, task.symbol, task.source)
    if content is not None and processor.adds_nothing(content[0], outcome.contribution, now):
        as_of = outcome.as_of if content[1] > now else max(content[1], outcome.as_of)
        document_store.confirm_contribution(conn, task.domain, task.symbol, task.source, as_of)
        doubt_store.clear(conn, task.domain, task.symbol, task.source, as_of=as_of, now=now)
        return _Contributed()
    said, as_of, overruled = processor.read(outcome.contribution), outcome.as_of, None
    before = document_store.contributions(conn, task.domain, task.symbol).get(task.source)
    if before is None:
        said = processor.accumulate(None, said, now)
    elif as_of < before.as_of <= now:
        said, as_of = processor.accumulate(said, processor.read(before.body), now), before.as_of
    else:
        known = processor.read(before.body)
        if _is_judged(conn, task) and (doubt := processor.doubt(known, said)) is not None:
            row = ContributionRow(task.source, outcome.kind, outcome.contribution, content_hash(said), as_of)
            is_news = doubt_store.set_aside(conn, task.domain, task.symbol, row, doubt, task_id=task.id, now=now)
            if not doubt_store.outweighs(conn, task.domain, task.symbol, task.source, now):
                return _Contributed(doubt=doubt, newly_doubtful=is_news)
            overruled = doubt
        said = processor.accumulate(known, said, now)
        doubt_store.clear(conn, task.domain, task.symbol, task.source, as_of=as_of, now=now)
    sha256 = content_hash(said)
    if before is not None and before.sha256 == sha256:
        processor.note_adds_nothing(sha256, outcome.contribution, now)
        document_store.confirm_contribution(conn, task.domain, task.symbol, task.source, as_of)
        return _Contributed()
    body = said.model_dump_json().encode()
    row = ContributionRow(task.source, outcome.kind, body, sha256, as_of)
    document_store.put_contribution(conn, task.domain, task.symbol, row, task_id=task.id, now=now)
    return _Contributed(changed=True, overruled=overruled)


def _notice(
    conn: Connection,
    symbol: str,
    source: str,
    processor: Processor[Any],
    before: Record | None,
    after: Record,
    now: Instant,
) -> bool:
    """Whether the change of a document by what a source says is worth a notice that was not there before. The state of
    the source is still that of its last answer.
    """
    since = stock_state_store.get_state(conn, symbol, processor.domain, source).checked_at
    return bool(notice_store.add_changes(conn, processor.notices(symbol, before, after, now, since), now))


def _plans(processor: Processor[Any], symbol: str, known: Record | None) -> list[FollowUp]:
    """Good for comparison alone: the stock's own exchange may have another clock."""
    return [] if known is None else list(processor.follow_ups(known, Symbol(symbol)))


def _is_judged(conn: Connection, task: Task) -> bool:
    """Every answer is, once: read anew by another parser, one that was believed may say something else."""
    if task.origin is not RunOrigin.REPARSE:
        return True
    return doubt_store.find(conn, task.domain, task.symbol, task.source) is not None


def _merged(conn: Connection, domain: str, symbol: str, processor: Processor[Any]) -> bytes:
    rows = document_store.contributions(conn, domain, symbol)
    typed = {name: Contribution(name, row.kind, processor.read(row.body)) for name, row in rows.items()}
    merged: bytes = processor.merge(processor.order(typed)).model_dump_json().encode()
    return merged
