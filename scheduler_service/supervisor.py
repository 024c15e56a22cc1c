"""What a service manager is told: the protocol of sd_notify(3).

Each datagram holds ``NAME=value`` lines and goes to the socket that ``NOTIFY_SOCKET`` names. Where nobody set that
variable nobody listens, and nothing is sent.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from scheduler_service.clock import SECOND
from scheduler_service.redaction import escape, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Clock

BEAT = 30
"""Seconds between two words to the manager, where it wants none sooner."""
EXTENSION = 3 * BEAT
ROUNDS_OF_PATIENCE = 4
LONGEST_STATUS = 500
"""Characters; it is one line of ``systemctl status``."""


class Supervisor:
    """The service manager, or nobody. Nothing here waits or raises."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._clock = clock
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog = _watchdog(environ, os.getpid()) if self._address else None
        """Within how many seconds it wants to hear ``alive`` again; None: it does not watch."""

    @property
    def listens(self) -> bool:
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The service serves; also after a reload."""
        self._tell("READY=1", _status(status))

    def reloading(self, status: str) -> None:
        """Until ``ready`` it is neither up nor down."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={round(self._clock.monotonic() * SECOND)}", _status(status))

    def stopping(self, status: str) -> None:
        self._tell("STOPPING=1", _status(status))

    def alive(self, status: str, *, ready: bool) -> None:
        """The watchdog's food. Readiness is said again each time, as a datagram can be lost.

        While not ready: the start or the stop goes on, and may take longer than the manager's own limit for it.
        """
        state = "READY=1" if ready else f"EXTEND_TIMEOUT_USEC={EXTENSION * SECOND}"
        self._tell(state, _status(status), *(["WATCHDOG=1"] if self.watchdog else []))

    def still(self, status: str) -> None:
        """How things are, without a word that they go on."""
        self._tell(_status(status))

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)


def comes_round(last_round: float, busy_since: float | None, now: float, every: float) -> bool:
    """Whether work that should be done every so often still is: seconds of a clock that never goes back.

    ``last_round``: when it was last done; ``busy_since``: since when something else that should be quick goes on.
    """
    return now - min(last_round, now if busy_since is None else busy_since) <= ROUNDS_OF_PATIENCE * every


def _address(given: str) -> str:
    """A path, or a name in the abstract namespace, which is written with ``@``; anything else is nobody's."""
    if given.startswith("@"):
        return "\0" + given[1:]
    return given if given.startswith("/") else ""


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """``WATCHDOG_USEC``, unless ``WATCHDOG_PID`` says that another process is meant."""
    micros, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
    if not (micros.isascii() and micros.isdecimal()) or whose != str(pid):
        return None
    return int(micros) / SECOND or None


def _status(text: str) -> str:
    return f"STATUS={escape(redact(text))[:LONGEST_STATUS]}"
