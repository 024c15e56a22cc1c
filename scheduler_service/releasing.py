"""A person's release: a stock that was left alone because it failed may be asked for again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scheduler_service.errors import ConfigurationError, Problem
from scheduler_service.failure_memory import pause_of
from scheduler_service.models import Event
from scheduler_service.settings.explain import did_you_mean
from scheduler_service.stores import stock_state_store
from scheduler_service.web.views import ReleaseReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scheduler_service.engine import Engine
    from scheduler_service.models import StockState
    from scheduler_service.stores.stock_state_store import Key
    from scheduler_service.web.views import ReleaseRequest


async def release(engine: Engine, request: ReleaseRequest) -> ReleaseReport:
    """Raises ``ConfigurationError`` for a stock of which nothing is known, or a domain that is not configured."""
    symbol, domain = request.symbol, request.domain
    if domain is not None and domain not in engine.processors:
        raise _unknown(domain, "no such domain is configured", engine.processors.keys())
    states = await engine.ledger.read(stock_state_store.states)
    known = {name for name, _, _ in states} | engine.dispatcher.watchlist.keys()
    if symbol not in known:
        raise _unknown(symbol, "it is not watched, and nothing is known of it", known)
    mine = {key: state for key, state in states.items() if key[0] == symbol and domain in (None, key[1])}
    held = _held_back(engine, mine)
    await engine.ledger.run(partial(stock_state_store.let_go, symbol=symbol, domain=domain))
    what = symbol if domain is None else f"{domain} of {symbol}"
    if not held:
        return ReleaseReport(message=f"nothing of {what} was held back by failures", released=())
    said = f"{symbol} is asked for again at its next slots: {', '.join(held)}"
    fields = {"symbol": symbol} if domain is None else {"symbol": symbol, "domain": domain}
    engine.publish(Event("symbol.released", said, fields))
    at_once = f"scheduler-service fetch {domain or 'DOMAIN'} {symbol}"
    return ReleaseReport(message=f"{said}; at once: {at_once}", released=held)


def _held_back(engine: Engine, states: Mapping[Key, StockState]) -> tuple[str, ...]:
    """``earnings from edgar (quarantined, unknown_symbol)``."""
    now, held = engine.clock.now(), []
    for (_, domain, source), state in sorted(states.items()):
        processor = engine.processors.get(domain)
        policy = None if processor is None else processor.policies.get(source)
        pause = None if policy is None else pause_of(state, policy.fresh_for, now)
        if pause is not None:
            held.append(f"{domain} from {source} ({pause.reason}, {pause.after})")
    return tuple(held)


def _unknown(name: str, wrong: str, known: Iterable[str]) -> ConfigurationError:
    return ConfigurationError([Problem("", name, wrong, did_you_mean(name, known))])
