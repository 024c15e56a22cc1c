"""One outcome, one transaction, fenced by the attempt: task, run, stock state, contribution, document, calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scheduler_service.failure_memory import quarantined_until
from scheduler_service.models import Contribution, RunOrigin, TaskState
from scheduler_service.processors.base import content_hash
from scheduler_service.stores import call_store, document_store, schedule_store, stock_state_store, task_store
from scheduler_service.stores.document_store import ContributionRow

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import Outcome, Task
    from scheduler_service.processors.base import Processor
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.schedule_store import RunRow

LAZY_PUBLICATION: Micros = 60_000_000
"""A document of which only the times of the last checks moved is published at most this often."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit changed. ``run`` is as it stands now; closed when this was its last task.

    ``quarantined_until``: from now on the stock is left alone at this source.
    """

    changed: bool
    run: RunRow
    quarantined_until: Instant | None = None


def commit(conn: Connection, task: Task, outcome: Outcome, processor: Processor[Any] | None, now: Instant) -> Committed:
    """Stores an outcome whole or not at all. Raises ``Fenced`` for a late writer.

    A task whose domain is gone has no processor, and nothing to contribute.
    """
    changed = processor is not None and _contribute(conn, task, outcome, processor, now)
    if changed and processor is not None:
        data = _merged(conn, task, processor)
        changed = document_store.put_document(conn, task.domain, task.symbol, data, now)
    completed, reread = outcome.state is TaskState.COMPLETED, task.origin is RunOrigin.REPARSE
    task_store.end(conn, task, outcome, unchanged=completed and not changed, now=now)
    stock = (task.symbol, task.domain, task.source)
    first, quarantined = False, None
    if completed and reread:
        stock_state_store.reread(conn, *stock, as_of=outcome.as_of, changed=changed, now=now)
    elif completed:
        first = stock_state_store.checked(conn, *stock, due_at=task.due_at, changed=changed, now=now)
    elif outcome.state is TaskState.FAILED and not reread:
        quarantined = quarantined_until(stock_state_store.failed(conn, *stock, reason=outcome.reason, now=now))
    if not changed and outcome.state is not TaskState.SKIPPED:
        pause = 0 if first else LAZY_PUBLICATION  # the first check may make the document complete
        document_store.refresh_envelope(conn, task.domain, task.symbol, pause=pause, now=now)
    call_store.consume(conn, task.id, outcome.calls, now)
    return Committed(changed, schedule_store.get_run(conn, task.run_id), quarantined)


def _contribute(conn: Connection, task: Task, outcome: Outcome, processor: Processor[Any], now: Instant) -> bool:
    """What the source says now, on top of what it said, in the order in which it was said: a slow task that comes last
    puts nothing over newer data. Old words stay, with their provenance, when nothing is new.
    """
    if outcome.contribution is None or outcome.kind is None:
        return False
    said, as_of = processor.read(outcome.contribution), outcome.as_of
    before = document_store.contributions(conn, task.domain, task.symbol).get(task.source)
    if before is None:
        said = processor.accumulate(None, said, now)
    elif as_of < before.as_of <= now:
        said, as_of = processor.accumulate(said, processor.read(before.body), now), before.as_of
    else:
        said = processor.accumulate(processor.read(before.body), said, now)
    sha256 = content_hash(said)
    if before is not None and before.sha256 == sha256:
        document_store.confirm_contribution(conn, task.domain, task.symbol, task.source, as_of)
        return False
    body = said.model_dump_json().encode()
    row = ContributionRow(task.source, outcome.kind, body, sha256, as_of)
    document_store.put_contribution(conn, task.domain, task.symbol, row, task_id=task.id, now=now)
    return True


def _merged(conn: Connection, task: Task, processor: Processor[Any]) -> bytes:
    rows = document_store.contributions(conn, task.domain, task.symbol)
    typed = {name: Contribution(name, row.kind, processor.read(row.body)) for name, row in rows.items()}
    merged: bytes = processor.merge(processor.order(typed)).model_dump_json().encode()
    return merged
