"""The ledger's tables of what was noticed: told once, remembered, delivered."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, text

from scheduler_service.stores.schema import Key, instant, metadata, texts

# What was noticed, each under a key of its own for ever, written with its cause in one transaction. `logged_at` is
# empty until it stands in the strategy log, `handled_at` until what follows from it is done and its deliveries are
# written: neither waits for the other.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Key, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    *texts("event", "level", "message"),
    Column("symbol", Text),
    Column("facts", LargeBinary, nullable=False),
    Column("is_alert", Boolean, nullable=False),
    instant("created_at", nullable=False),
    instant("logged_at"),
    instant("handled_at"),
    sqlite_autoincrement=True,
)
Index("outbox_like", outbox.c.event, outbox.c.symbol, outbox.c.created_at)
UNHANDLED = text("handled_at IS NULL")
UNLOGGED = text("logged_at IS NULL")
Index("outbox_unhandled", outbox.c.id, sqlite_where=UNHANDLED, postgresql_where=UNHANDLED)
Index("outbox_unlogged", outbox.c.id, sqlite_where=UNLOGGED, postgresql_where=UNLOGGED)

# A notice on its way to one channel (`channel`: a name that does not tell its address). It ends with `ended_at` and
# how: delivered, or held back by cool-down, or summed up with others, or given up. `said` is why it is still here, or
# by which key it was summed up.
delivery = Table(
    "delivery",
    metadata,
    Column("notice_id", BigInteger, ForeignKey("outbox.id"), primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("said", Text),
    Column("tries", Integer, nullable=False),
    instant("not_before", nullable=False),
    instant("tried_at"),
    instant("ended_at"),
)
Index("delivery_ended", delivery.c.channel, delivery.c.ended_at)
WAITING_DELIVERY = text("ended_at IS NULL")
Index(
    "delivery_waiting",
    delivery.c.channel,
    delivery.c.not_before,
    sqlite_where=WAITING_DELIVERY,
    postgresql_where=WAITING_DELIVERY,
)

# What a monitor last told of a subject (an exchange, a position, itself), so that a restart tells nothing twice.
# `state` is its word for it, `body` what it needs to judge the next change.
monitor_state = Table(
    "monitor_state",
    metadata,
    *texts("monitor", "subject", primary_key=True),
    Column("state", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    instant("since", nullable=False),
    instant("told_at", nullable=False),
)

METADATA = metadata
"""All the tables of the ledger."""
