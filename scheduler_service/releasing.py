"""A person's release: a stock that was left alone because it failed may be asked for again, and what was set aside as
doubtful is accepted or dropped.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scheduler_service.errors import ConfigurationError, Problem
from scheduler_service.executors.commit import accept
from scheduler_service.failure_memory import pause_of
from scheduler_service.models import Event
from scheduler_service.settings.explain import did_you_mean
from scheduler_service.stores import doubt_store, stock_state_store
from scheduler_service.web.views import ReleaseReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scheduler_service.engine import Engine
    from scheduler_service.models import StockState
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.doubt_store import DoubtfulRow
    from scheduler_service.stores.stock_state_store import Key
    from scheduler_service.web.views import ReleaseRequest


async def release(engine: Engine, request: ReleaseRequest) -> ReleaseReport:
    """Raises ``ConfigurationError`` for a stock of which nothing is known, a domain that is not configured, and for an
    answer to be dropped of which no domain is named.
    """
    symbol, domain = request.symbol, request.domain
    if domain is not None and domain not in engine.processors:
        raise _unknown(domain, "no such domain is configured", engine.processors.keys())
    if domain is None and request.reject:
        raise ConfigurationError([Problem("", symbol, "name the domain whose doubtful answer is to be dropped")])
    states = await engine.ledger.read(stock_state_store.states)
    known = {name for name, _, _ in states} | engine.dispatcher.watchlist.keys()
    if symbol not in known:
        raise _unknown(symbol, "it is not watched, and nothing is known of it", known)
    mine = {key: state for key, state in states.items() if key[0] == symbol and domain in (None, key[1])}
    doubtful = await engine.ledger.read(partial(doubt_store.waiting, symbol=symbol, domain=domain))
    if domain is not None and (doubtful or request.reject):
        return await _decide(engine, doubtful, symbol, domain, reject=request.reject)
    waiting = tuple(f"{row.domain} from {row.source}" for row in doubtful)
    held = _held_back(engine, mine)
    await engine.ledger.run(partial(stock_state_store.let_go, symbol=symbol, domain=domain))
    what = symbol if domain is None else f"{domain} of {symbol}"
    if not held:
        nothing = f"nothing of {what} was held back by failures"
        return ReleaseReport(message=nothing + _still_doubtful(waiting), released=(), doubtful=waiting)
    said = f"{symbol} is asked for again at its next slots: {', '.join(held)}"
    fields = {"symbol": symbol} if domain is None else {"symbol": symbol, "domain": domain}
    engine.publish(Event("symbol.released", said, fields))
    at_once = f"scheduler-service fetch {domain or 'DOMAIN'} {symbol}"
    message = f"{said}; at once: {at_once}" + _still_doubtful(waiting)
    return ReleaseReport(message=message, released=held, doubtful=waiting)


def _still_doubtful(waiting: Sequence[str]) -> str:
    return f"; still doubtful, to be accepted by naming the domain: {', '.join(waiting)}" if waiting else ""


async def _decide(
    engine: Engine, doubtful: Sequence[DoubtfulRow], symbol: str, domain: str, *, reject: bool
) -> ReleaseReport:
    """What was set aside is accepted, or dropped: then the stock is asked for as slowly as before."""
    if not doubtful:
        return ReleaseReport(message=f"nothing of {domain} of {symbol} is doubtful", released=())
    now, processor = engine.clock.now(), engine.processors[domain]

    def unit(conn: Connection) -> bool:
        noticed = False
        for row in doubtful:
            if doubt_store.find(conn, row.domain, row.symbol, row.source) != row:
                continue  # something else was said meanwhile
            if reject:
                doubt_store.reject(conn, row, now)
            else:
                noticed |= accept(conn, row, processor, now)
        return noticed

    if await engine.ledger.run(unit):
        engine.noticed()
    engine.planned(symbol)
    engine.publisher.notify()
    names = tuple(f"{row.domain} from {row.source}" for row in doubtful)
    if reject:
        said = f"dropped, the document of {symbol} stays as it is: {', '.join(names)}"
    else:
        said = f"accepted, the document of {symbol} follows: {', '.join(names)}"
    engine.publish(Event("symbol.released", said, {"symbol": symbol, "domain": domain}))
    return ReleaseReport(message=said, released=(), accepted=() if reject else names, rejected=names if reject else ())


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
