"""What the service manager hears, and when there is nobody to hear it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.redaction import register_secret
from scheduler_service.supervisor import ROUNDS_OF_PATIENCE, Supervisor, comes_round
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = st.floats(0, 1e6, allow_nan=False)


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket as a service manager has it, and its name as ``NOTIFY_SOCKET``."""
    name = f"@scheduler-service-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if name.startswith("@") else name)
        listening.setblocking(False)
        yield listening, name


def heard(ear: socket.socket) -> list[str]:
    return ear.recv(65_536).decode().split("\n")


def test_each_word_is_one_datagram(ear: tuple[socket.socket, str]) -> None:
    listening, name = ear
    clock = FakeClock()
    clock.advance(1_500_000)
    supervisor = Supervisor({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "90000000"}, clock)
    assert supervisor.listens
    assert supervisor.watchdog == 90.0
    supervisor.ready("8 symbols")
    supervisor.reloading("restarting")
    supervisor.alive("fine", ready=True)
    supervisor.alive("starting", ready=False)
    supervisor.still("stuck")
    supervisor.stopping("stopping")
    assert [heard(listening) for _ in range(6)] == [
        ["READY=1", "STATUS=8 symbols"],
        ["RELOADING=1", "MONOTONIC_USEC=1500000", "STATUS=restarting"],
        ["READY=1", "STATUS=fine", "WATCHDOG=1"],
        ["EXTEND_TIMEOUT_USEC=90000000", "STATUS=starting", "WATCHDOG=1"],
        ["STATUS=stuck"],
        ["STOPPING=1", "STATUS=stopping"],
    ]


def test_a_status_is_one_line_without_secrets_and_not_too_long(ear: tuple[socket.socket, str]) -> None:
    listening, name = ear
    register_secret("hunter2hunter2")
    Supervisor({"NOTIFY_SOCKET": name}, FakeClock()).ready("a\nMAINPID=1 hunter2hunter2 \x1b[31m" + "x" * 1_000)
    ready, status = heard(listening)
    assert ready == "READY=1"
    assert status.startswith("STATUS=a\\nMAINPID=1 [redacted] \\x1b[31mx")
    assert len(status) < 600


@pytest.mark.parametrize(
    "name", ["", "relative/path", "vsock:2:1234", "/nobody/there", "@nobody-there", "/" + "x" * 200]
)
def test_where_nobody_listens_nothing_happens(name: str) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"}, FakeClock())
    supervisor.ready("fine")
    supervisor.stopping("stopping")
    assert not Supervisor({}, FakeClock()).listens
    if not name.startswith(("/", "@")):
        assert (supervisor.listens, supervisor.watchdog) == (False, None)


def test_a_service_manager_that_does_not_read_holds_nobody(ear: tuple[socket.socket, str]) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": ear[1]}, FakeClock())
    for _ in range(2_000):
        supervisor.alive("x" * 500, ready=True)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "self"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_watchdog_is_one_that_watches_this_process(environ: dict[str, str], seconds: float | None) -> None:
    assert Supervisor({"NOTIFY_SOCKET": "/s", **environ}, FakeClock()).watchdog == seconds


def test_what_comes_round_may_be_late_by_a_few_rounds_only() -> None:
    limit = ROUNDS_OF_PATIENCE * 30
    assert comes_round(0, None, limit, 30)
    assert not comes_round(0, None, limit + 1, 30)
    assert comes_round(limit, 0.0, limit, 30)
    assert not comes_round(limit + 1, 0.0, limit + 1, 30)


@given(SECONDS, st.none() | SECONDS, SECONDS, SECONDS)
def test_what_is_stuck_stays_stuck_until_it_comes_round(
    last: float, busy: float | None, now: float, later: float
) -> None:
    if not comes_round(last, busy, now, 30):
        assert not comes_round(last, busy, now + later, 30)
        assert comes_round(now, None, now, 30)
