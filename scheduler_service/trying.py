"""A person has a provider that keeps failing tried before its time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scheduler_service.clock import to_iso_seconds
from scheduler_service.errors import ConfigurationError, Problem
from scheduler_service.executors.local_executor import lanes_of
from scheduler_service.models import Event
from scheduler_service.settings.explain import did_you_mean
from scheduler_service.stores import task_store
from scheduler_service.web.views import TryReport

if TYPE_CHECKING:
    from scheduler_service.clock import Instant
    from scheduler_service.engine import Engine
    from scheduler_service.gates.gate import Gate
    from scheduler_service.web.views import TryRequest


async def try_provider(engine: Engine, request: TryRequest) -> TryReport:
    """One request finds out whether it works again. What the provider asked for, its budget and its rate hold as
    before.

    Raises ``ConfigurationError`` for a provider that is not in use.
    """
    name, now = request.provider, engine.clock.now()
    gate = engine.gates.by_provider.get(name)
    if gate is None:
        known = did_you_mean(name, engine.gates.by_provider.keys())
        raise ConfigurationError([Problem("", name, "no such provider is in use", known)])
    tried, held = tuple(gate.release(now)), _held(gate, now)
    if tried:
        await engine.ledger.run(partial(task_store.try_again, lanes=lanes_of(name), now=now))
        said = f"{', '.join(tried)}: the next request finds out whether it works again"
        engine.publish(Event("provider.released", said, {"provider": name}))
        engine.notify()
    else:
        said = f"nothing of {name} is left alone because it kept failing"
    as_before = f"; this holds as before: {'; '.join(held)}" if held else ""
    return TryReport(message=said + as_before, tried=tried, held=held)


def _held(gate: Gate, now: Instant) -> tuple[str, ...]:
    """What a person cannot have tried."""
    held = [
        f"{standing.what} is not asked until {to_iso_seconds(standing.until)} ({standing.reason})"
        for standing in gate.standings(now)
        if not standing.circuit
    ]
    exhausted = gate.account.exhausted(now)
    return (*held, str(exhausted)) if exhausted is not None else tuple(held)
