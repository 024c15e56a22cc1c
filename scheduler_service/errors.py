"""Every error the service raises on purpose, split by what the catcher will do.

::

    SchedulerServiceError
      ConfigurationError      the user mends a file; carries every problem at once
      DataDirectoryError      the directory cannot be used: unwritable, of the other mode, of a newer version
        AlreadyRunning        another process holds it; carries its pid
      StoreError              the ledger could not do it
        Fenced                a late writer: its attempt is no longer the current one
        LedgerDamaged         the file fails its check
      ClientError             an upstream did not give the answer; ``reason`` says why
        TransientClientError  trying again may help; ``retry_after`` in seconds where the upstream said so
          RateLimited         the upstream asks for fewer requests; the gate shuts for everyone
        PermanentClientError  trying again will not help
          NotFound            the upstream does not know the thing
          NotKept             nobody was asked, for only kept answers were wanted, and there is none
          Refused             the upstream does not accept who asks: the key, or its account's credit
          EndpointGone        what is asked exists there no more; the gate shuts for a day
      ParseError              the answer was kept, but is not what was asked for
      Held                    a gate says "not now": ``reason``, and ``until`` when it will open
        CircuitOpen           because what it leads to keeps failing; a person may have it tried before
        InLine                because others go first: at the rate that is set, it comes to it
      NotRunning              the command needs the running service
      CalendarsNotComputed    the process that knows the sessions of exchanges gave none
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.calls import Cost
    from scheduler_service.clock import Instant
    from scheduler_service.models import Reason


class SchedulerServiceError(Exception):
    """Root of the tree; its text is a sentence a user can act on."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the configuration: where, what, and what would be right."""

    where: str
    """``file:line:column``, or ``environment SCHEDULER_...``."""
    path: str
    """The setting, as ``http.port`` or ``schedules[news-intraday].trigger``."""
    wrong: str
    right: str = ""

    def __str__(self) -> str:
        head = f"{self.where} {self.path}".strip()
        return f"{head}: {self.wrong}" + (f"; {self.right}" if self.right else "")


class ConfigurationError(SchedulerServiceError):
    """All problems of a configuration, at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class DataDirectoryError(SchedulerServiceError):
    """The data directory cannot be used; the text says why and what to do."""


class AlreadyRunning(DataDirectoryError):
    """Another process holds the data directory."""

    def __init__(self, data_dir: str, pid: int | None) -> None:
        super().__init__(
            f"{data_dir} is in use by another instance (pid {pid or 'unknown'}); "
            "stop it first, or give this one its own service.data_dir"
        )
        self.pid = pid


class StoreError(SchedulerServiceError):
    """The ledger could not do what was asked."""


class Fenced(StoreError):
    """This attempt has been superseded; its outcome must not be stored."""


class LedgerDamaged(StoreError):
    """The ledger file fails its check."""


class ClientError(SchedulerServiceError):
    """An upstream did not give the answer. ``cost``: what it charged all the same, where it says so."""

    reason: Reason
    cost: Cost | None = None

    def __init__(self, message: str, reason: Reason, *, status: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status


class TransientClientError(ClientError):
    """Trying again may help."""

    def __init__(
        self, message: str, reason: Reason, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, reason, status=status)
        self.retry_after = retry_after


class RateLimited(TransientClientError):
    """The upstream asked for fewer requests; the gate closes for everyone."""


class PermanentClientError(ClientError):
    """Trying again will not help."""


class NotFound(PermanentClientError):
    """The upstream does not know the thing asked for."""


class NotKept(PermanentClientError):
    """Only a kept answer was wanted, and there is none."""


class Refused(PermanentClientError):
    """The upstream does not accept who asks."""


class EndpointGone(PermanentClientError):
    """The upstream has given up the endpoint, not only the thing."""


class ParseError(SchedulerServiceError):
    """The answer was kept, but is not what was asked for; ``reason`` says in which way."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class Held(SchedulerServiceError):
    """A gate says "not now"; the task gives its worker back until ``until``."""

    def __init__(self, message: str, reason: Reason, until: Instant) -> None:
        super().__init__(message)
        self.reason = reason
        self.until = until


class CircuitOpen(Held):
    """What was to be asked keeps failing. One of those that ask for it is to come back at ``until``, unless it
    ``is_tried`` just now; the others by themselves ``at_the_latest`` then. ``circuit``: which one it is.
    """

    def __init__(
        self,
        message: str,
        reason: Reason,
        until: Instant,
        *,
        circuit: str,
        at_the_latest: Instant,
        is_tried: bool = False,
    ) -> None:
        super().__init__(message, reason, until)
        self.circuit = circuit
        self.at_the_latest = at_the_latest
        self.is_tried = is_tried


class InLine(Held):
    """Requests leave at the rate that is set, and this one's turn is later."""


class NotRunning(SchedulerServiceError):
    """The command needs the running service, and none runs on this data directory."""


class NotAnswering(NotRunning):
    """A process holds the data directory, and does not answer."""


class CalendarsNotComputed(SchedulerServiceError):
    """The process that knows the sessions of exchanges gave none; what was known before goes on."""
