"""The ledger's tables: the memory of the service, and what each table is for.

Every time is an Instant (UTC microseconds), every body bytes, every amount of money in millionths of a US dollar.
Text columns named after an enum hold its values. Nothing is derived here that another table can tell, except where a
comment says why.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

VERSION = 5

metadata = MetaData()

# SQLite counts only an "INTEGER" key by itself; elsewhere the key is a big integer. Numbers are never reused: people
# quote them.
Key = BigInteger().with_variant(Integer, "sqlite")


def instant(name: str, *, nullable: bool = True, primary_key: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable and not primary_key, primary_key=primary_key)


def texts(*names: str, primary_key: bool = False) -> list[Column[str]]:
    return [Column(name, Text, nullable=False, primary_key=primary_key) for name in names]


# What the directory is: schema_version, mode (sandbox or live, for ever), created_at, program_version.
meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

# One row per schedule ever known. `definition` (canonical JSON of trigger, domain, symbols, policies) and its
# `fingerprint` tell an edited schedule from an unchanged one. Slots are accounted for in (effective_from, cursor]; a
# changed definition starts anew from its change. A removed schedule is closed, never deleted: its slots stay
# explainable.
schedule = Table(
    "schedule",
    metadata,
    Column("id", Text, primary_key=True),
    *texts("origin", "domain", "definition", "fingerprint"),
    instant("effective_from", nullable=False),
    instant("cursor", nullable=False),
    instant("closed_at"),
)

# Every instant a schedule was due, each exactly once, with its outcome from the moment it is recorded. A long stretch
# with one outcome is one range row: `slots` due times from `due_at` to `until_at`. A slot has at most one run. Ranges
# cannot overlap because slots are only ever written by the transaction that moves the schedule's cursor past them.
slot = Table(
    "slot",
    metadata,
    Column("schedule_id", Text, ForeignKey("schedule.id"), primary_key=True),
    instant("due_at", primary_key=True),
    instant("until_at", nullable=False),
    Column("slots", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("run_id", BigInteger, ForeignKey("run.id"), unique=True),
    instant("recorded_at", nullable=False),
    CheckConstraint("slots >= 1 AND until_at >= due_at AND (slots = 1) = (until_at = due_at)"),
    CheckConstraint("run_id IS NULL OR slots = 1"),
)
Index("slot_recorded", slot.c.recorded_at)


# What is carried out, for a slot or for a person. `plan` fixes at its birth what it expands to (symbols in order,
# sources, rank, expiry), and is emptied once that is done; `expanded_upto` is the last symbol whose tasks exist, so
# that an expansion that a crash cut off is resumed and not redone. The counts are kept with the tasks they count, in
# the same transactions, so that closing a run needs no scan: an expanded run with no open task is closed.
run = Table(
    "run",
    metadata,
    Column("id", Key, primary_key=True),
    Column("origin", Text, nullable=False),
    Column("schedule_id", Text, ForeignKey("schedule.id")),
    Column("domain", Text, nullable=False),
    instant("due_at", nullable=False),
    Column("force", Boolean, nullable=False),
    Column("plan", Text),
    Column("expanded_upto", Text, nullable=False),
    Column("open_tasks", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    instant("created_at", nullable=False),
    instant("closed_at"),
    CheckConstraint("open_tasks >= 0"),
    sqlite_autoincrement=True,
)
Index("run_of_schedule", run.c.schedule_id, run.c.due_at)
Index("run_created", run.c.created_at)
Index("run_open", run.c.id, sqlite_where=text("closed_at IS NULL"), postgresql_where=text("closed_at IS NULL"))

# The unit of work. `attempt` counts the goes that were started and fences their writers; `interrupted` those cut off
# by a crash. A task held by a gate stays queued with `not_before` and `held_reason`, but not beyond `expires_at`, its
# schedule's next slot; `queued_at` is when that deadline was set, so that one from a wrong clock can be told.
# `schedule_id` and `domain` repeat the run's, because overlap and a stock's history are looked up by them.
task = Table(
    "task",
    metadata,
    Column("id", Key, primary_key=True),
    Column("run_id", BigInteger, ForeignKey("run.id"), nullable=False),
    Column("schedule_id", Text),
    *texts("domain", "symbol", "source", "lane", "state"),
    Column("reason", Text),
    Column("message", Text),
    Column("unchanged", Boolean, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("interrupted", Integer, nullable=False),
    Column("held_reason", Text),
    Column("retry_of", BigInteger),
    instant("queued_at", nullable=False),
    instant("not_before", nullable=False),
    instant("expires_at"),
    instant("created_at", nullable=False),
    instant("started_at"),
    instant("ended_at"),
    UniqueConstraint("run_id", "symbol", "source"),
    CheckConstraint("(ended_at IS NULL) = (state IN ('queued', 'running'))"),
    sqlite_autoincrement=True,
)
# The hot indexes hold open tasks alone; queries say the same condition literally, so that planners can use them.
QUEUED = text("state = 'queued'")
RUNNING = text("state = 'running'")
OPEN = text("ended_at IS NULL")
Index(
    "task_queue",
    task.c.lane,
    task.c.interrupted,
    task.c.rank,
    task.c.not_before,
    task.c.id,
    sqlite_where=QUEUED,
    postgresql_where=QUEUED,
)
Index("task_running", task.c.id, sqlite_where=RUNNING, postgresql_where=RUNNING)
Index("task_open", task.c.schedule_id, task.c.symbol, task.c.source, sqlite_where=OPEN, postgresql_where=OPEN)
Index("task_of_stock", task.c.symbol, task.c.domain, task.c.source, task.c.id)
Index("task_retry", task.c.retry_of)

# A thing at an upstream and the answer that is current for it. `revision` is what the answer was kept under; the
# validators make the next request conditional. `checked_at` moves with every 200 or 304, `changed_at` only when the
# body differs.
resource = Table(
    "resource",
    metadata,
    Column("key", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("call_id", BigInteger, ForeignKey("call.id")),
    Column("revision", Text),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("sha256", LargeBinary),
    instant("checked_at"),
    instant("changed_at"),
)
Index("resource_call", resource.c.call_id)

# One HTTP try and what it cost. Written as `reserved` before the request leaves, settled after as `kept`, `unchanged`
# or `failed`. One whose answer was not kept though its request had left (cut off by a crash or a stop, or the disk
# was full) is `lost`: charged, shown, and asked again at most once by the tasks that wait for it.
call = Table(
    "call",
    metadata,
    Column("id", Key, primary_key=True),
    *texts("resource_key", "provider", "state"),
    Column("status", Integer),
    Column("reason", Text),
    Column("bytes", BigInteger),
    Column("usd_micros", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    instant("reserved_at", nullable=False),
    instant("settled_at"),
    CheckConstraint("(settled_at IS NULL) = (state = 'reserved')"),
    sqlite_autoincrement=True,
)
Index("call_of_resource", call.c.resource_key, call.c.id)
RESERVED = text("state = 'reserved'")
Index("call_reserved", call.c.id, sqlite_where=RESERVED, postgresql_where=RESERVED)

# Which tasks a call is for: the one that `asked`, those that `joined` its flight, and those that were served its
# `kept` answer. The first two are durable before anyone waits for the answer: by them a task finds, after a crash,
# what was already paid for it, and what was lost. A use is consumed by the commit of its task's outcome.
call_use = Table(
    "call_use",
    metadata,
    Column("task_id", BigInteger, ForeignKey("task.id"), primary_key=True),
    Column("call_id", BigInteger, ForeignKey("call.id"), primary_key=True),
    Column("how", Text, nullable=False),
    instant("consumed_at"),
)
Index("call_use_of_call", call_use.c.call_id)

# The kept answer of a call, stored before it is parsed: zstd here when small, else in raw/<call_id>.zst with `body`
# empty.
answer = Table(
    "answer",
    metadata,
    Column("call_id", BigInteger, ForeignKey("call.id"), primary_key=True),
    Column("resource_key", Text, nullable=False),
    Column("request_sha256", LargeBinary, nullable=False),
    *texts("url", "content_type"),
    Column("sandbox", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("body", LargeBinary),
    instant("fetched_at", nullable=False),
)
Index("answer_of_resource", answer.c.resource_key, answer.c.call_id)

# What was spent per provider and UTC day, reserved calls included: the sum that a budget is checked against before
# each call, kept in the transaction that reserves the call, so that it outlives the pruning of calls.
spend = Table(
    "spend",
    metadata,
    *texts("provider", "day", primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("usd_micros", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
)

# What a gate must remember across a restart: `rate` (the theoretical arrival time of its GCRA) and `closed` (until
# when, and why). `set_at` in the future means that a wrong clock wrote it: such a row is void.
gate_state = Table(
    "gate_state",
    metadata,
    *texts("provider", "name", primary_key=True),
    instant("until_at", nullable=False),
    Column("reason", Text),
    instant("set_at", nullable=False),
)

# What is known of one (symbol, domain, source): the state that is checked before every call. `checked_for` is the due
# time it was last checked for (freshness counts from it), `checked_at` the instant; a failure leaves both alone and
# counts in `failures`.
stock_state = Table(
    "stock_state",
    metadata,
    *texts("symbol", "domain", "source", primary_key=True),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("failures", Integer, nullable=False),
    instant("checked_for"),
    instant("checked_at"),
    instant("changed_at"),
    instant("tried_at"),
)

# What one source says of one (domain, symbol): the inputs of the merge. `as_of` is when its newest answer was
# fetched: a slow task never puts older data over newer. `sha256` is of the content without fetch times and call ids.
contribution = Table(
    "contribution",
    metadata,
    *texts("domain", "symbol", "source", primary_key=True),
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("task_id", BigInteger, nullable=False),
    instant("as_of", nullable=False),
    instant("changed_at", nullable=False),
)

# What a source says and nobody may believe yet: beside its contribution, which stays, until a person accepts it or the
# source says something believable. `said` tells what is doubtful; `times` how often in a row it was said. One that a
# person has rejected is kept, so that the same answer is no news.
doubtful = Table(
    "doubtful",
    metadata,
    *texts("domain", "symbol", "source", primary_key=True),
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("said", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("task_id", BigInteger, nullable=False),
    instant("as_of", nullable=False),
    instant("since", nullable=False),
    instant("rejected_at"),
)

# What readers get: `data` is merge(contributions), its envelope is made from stock_state when it is published. The
# publisher writes the file and strikes it by setting `published_version` where the version is still its own;
# `published_sha256` tells a damaged file. `publish_after` is empty when there is nothing to publish, and lazy where
# only the time of the last check moved.
document = Table(
    "document",
    metadata,
    *texts("domain", "symbol", primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("published_version", BigInteger, nullable=False),
    Column("published_sha256", LargeBinary),
    Column("data", LargeBinary, nullable=False),
    instant("changed_at", nullable=False),
    instant("publish_after"),
    instant("published_at"),
    CheckConstraint("published_version <= version"),
)
WAITING = text("publish_after IS NOT NULL")
Index(
    "document_waiting",
    document.c.publish_after,
    document.c.domain,
    document.c.symbol,
    sqlite_where=WAITING,
    postgresql_where=WAITING,
)

# A schedule (or all: `*`) that must not run, since when, until when, and why; survives restarts and configuration
# changes. One at a time of a scope has no `ended_at`; the others are kept, for the slots that were skipped for them.
pause = Table(
    "pause",
    metadata,
    Column("scope", Text, primary_key=True),
    instant("since", primary_key=True),
    instant("until"),
    Column("reason", Text),
    instant("ended_at"),
)
