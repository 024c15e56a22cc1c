"""Where requests leave for one host, or for a whole provider where its hosts are not told apart: shut or not, its line,
the circuits of its endpoints. What it must remember lies in the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scheduler_service.clock import HOUR, SECOND, to_iso_seconds
from scheduler_service.errors import CircuitOpen, Held
from scheduler_service.gates.breaker import LONGEST_OPEN, LOOK_AGAIN_AFTER, Circuit, after_try, closing_row
from scheduler_service.models import Reason
from scheduler_service.stores.gate_store import CIRCUIT, CLOSED, RATE, GateRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Instant
    from scheduler_service.gates.rate import Limiter

LONGEST_WAIT_IN_PLACE = 10 * SECOND
TOLD_AGAIN_AFTER = HOUR
ENDPOINT_GONE = "what it was asked at is no longer there; see its base_url and api, and reload once they are right"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is not asked, until when and why. ``circuit``: for it kept failing; ``probed``: a request is finding out
    whether it works again.
    """

    what: str
    until: Instant
    reason: Reason
    probed: bool = False
    circuit: bool = False


@dataclass(slots=True)
class _Endpoint:
    """``released``: a person has it tried before its time. ``told_at``: when its failing was last said aloud."""

    circuit: Circuit = field(default_factory=Circuit)
    probed: bool = False
    released: bool = False
    told_at: Instant = 0


class Door:
    """``host``: empty for a whole provider. ``address``: short for where the provider is; what is remembered belongs to
    that, and not to the provider's name.
    """

    def __init__(self, provider: str, host: str, address: str, line: Limiter) -> None:
        self._at = f"@{host}" if host else ""
        self.name = f"{provider} at {host}" if host else provider
        self.line = line
        self.closed: GateRow | None = None
        self.closed_row = f"{CLOSED}:{address}{self._at}"
        self.rate_row = f"{RATE}{self._at}"
        self._circuits = f"{CIRCUIT}:{address}:"
        self._provider = provider
        self._why = ""
        self._endpoints: dict[str, _Endpoint] = {}

    def restore(self, rows: Mapping[tuple[str, str], GateRow]) -> None:
        """What the ledger remembers."""
        self.closed = rows.get((self._provider, self.closed_row))
        rate = rows.get((self._provider, self.rate_row))
        if rate is not None:
            self.line.restore(rate.until)
        for (provider, name), row in rows.items():
            is_open = row.until > row.set_at  # else it says that the circuit was closed again
            if is_open and provider == self._provider and name.startswith(self._circuits) and name.endswith(self._at):
                endpoint = name.removeprefix(self._circuits).removesuffix(self._at)
                self._endpoints[endpoint] = _Endpoint(Circuit(opened=row), told_at=row.set_at)

    def circuit_row(self, endpoint: str) -> str:
        """What the ledger calls the circuit."""
        return f"{self._circuits}{endpoint}{self._at}"

    def close_until(self, row: GateRow, why: str) -> GateRow:
        """No more calls, for anyone. Returns what holds now: the longer of two wishes."""
        if self.closed is None or row.until > self.closed.until:
            self.closed, self._why = row, why
        return self.closed

    def closed_until(self, now: Instant) -> Instant:
        """0 where it is not; what was set in the future was set by a wrong clock, and is void."""
        if self.closed is not None and (self.closed.is_void(now) or now >= self.closed.until):
            self.closed = None
        return self.closed.until if self.closed is not None else 0

    def forget_endpoint_gone(self, now: Instant) -> dict[str, GateRow]:
        """A person says that it is there now; returns the row that says so to the ledger."""
        if self.closed is None or self.closed.reason is not Reason.ENDPOINT_GONE:
            return {}
        self.closed = None
        return {self.closed_row: GateRow(now, now, Reason.ENDPOINT_GONE)}

    def check(self, now: Instant, endpoint: str | None = None) -> None:
        """Raises ``Held`` where it stays closed for longer than 10 seconds, or the endpoint's circuit is open.
        ``endpoint`` None: whatever is asked for.
        """
        if self.closed_until(now) - now > LONGEST_WAIT_IN_PLACE and self.closed is not None:
            until = self.closed.until
            reason = self.closed.reason or Reason.RATE_LIMITED
            message = f"{self.name} is not asked until {to_iso_seconds(until)}"
            why = self._why or (ENDPOINT_GONE if reason is Reason.ENDPOINT_GONE else "")
            raise Held(f"{message}: {why}" if why else message, reason, until)
        if endpoint is not None:
            self._check_circuit(endpoint, now)

    def start(self, endpoint: str, now: Instant) -> bool:
        """A request is about to leave; whether it is the probe of a circuit that is open. To be asked right after
        ``check``, and followed by ``finish``.
        """
        known = self._endpoints.get(endpoint)
        if known is None or known.circuit.opened_at(now) is None:
            return False
        known.probed, known.released = True, False
        return True

    def release(self, now: Instant) -> list[str]:
        """The next request to an endpoint that keeps failing finds out at once whether it works again; returns which
        those are. What the upstream asked for stays as it is.
        """
        open_ones = {name: known for name, known in self._endpoints.items() if known.circuit.opened_at(now) is not None}
        for known in open_ones.values():
            known.released = True
        return [self.of(name) for name in open_ones]

    def finish(self, endpoint: str, now: Instant, *, well: bool | None, probe: bool) -> GateRow | None:
        """The request is over; ``well`` None: it says nothing of the endpoint. Returns the circuit's row where that
        changed.
        """
        known = self._endpoints.setdefault(endpoint, _Endpoint())
        if probe:
            known.probed = False
        if well is None:
            return None
        before = known.circuit
        known.circuit = after_try(before, now, well=well, probe=probe)
        if known.circuit.opened == before.opened:
            return None
        if known.circuit.opened is None:
            known.told_at = 0
        return known.circuit.opened or closing_row(now)

    def is_to_be_told(self, endpoint: str, now: Instant) -> bool:
        """Whether its failing was not said aloud within the hour; it is from now on."""
        known = self._endpoints.setdefault(endpoint, _Endpoint())
        if known.told_at <= now < known.told_at + TOLD_AGAIN_AFTER:
            return False
        known.told_at = now
        return True

    def obstacle(self, now: Instant) -> Held | None:
        """What no request gets past, as far as is known; of several circuits the one that is tried first."""
        endpoints: list[str | None] = [*self._endpoints] or [None]
        held = [one for endpoint in endpoints if (one := self._held(endpoint, now)) is not None]
        return min(held, key=lambda one: one.until) if len(held) == len(endpoints) else None

    def standings(self, now: Instant) -> tuple[Standing, ...]:
        """Everything here that is not asked now."""
        found = []
        if self.closed_until(now) and self.closed is not None:
            found.append(Standing(self.name, self.closed.until, self.closed.reason or Reason.RATE_LIMITED))
        for endpoint, known in self._endpoints.items():
            opened = known.circuit.opened_at(now)
            shut = opened is not None and opened.until > now and not known.released
            if opened is not None and (shut or known.probed):  # else the next request finds out
                found.append(Standing(self.of(endpoint), opened.until, Reason.PROVIDER_DOWN, known.probed, True))
        return tuple(found)

    def of(self, endpoint: str) -> str:
        """What people are told is not asked."""
        return f"{self.name} ({endpoint})" if endpoint else self.name

    def _held(self, endpoint: str | None, now: Instant) -> Held | None:
        try:
            self.check(now, endpoint)
        except Held as held:
            return held
        return None

    def _check_circuit(self, endpoint: str, now: Instant) -> None:
        known = self._endpoints.get(endpoint)
        opened = known.circuit.opened_at(now) if known is not None else None
        if known is None or opened is None:
            return
        row, until, down = self.circuit_row(endpoint), opened.until, Reason.PROVIDER_DOWN
        if known.probed:
            message = f"{self.of(endpoint)} keeps failing; one request finds out whether it works again"
            again = now + LOOK_AGAIN_AFTER
            raise CircuitOpen(message, down, again, circuit=row, at_the_latest=now + LONGEST_OPEN, is_tried=True)
        if now < until and not known.released:
            message = f"{self.of(endpoint)} keeps failing and is not asked until {to_iso_seconds(until)}"
            raise CircuitOpen(message, down, until, circuit=row, at_the_latest=until + LONGEST_OPEN)
