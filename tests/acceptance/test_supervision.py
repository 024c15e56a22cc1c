"""The real command under a service manager: what it hears of it, reloads, and the unit files."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.commands import GLANCE, PATIENCE, PROGRAM, ROOT, free_port, running, said, until

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = ROOT / "deploy/scheduler-service.service"
USER_UNIT = ROOT / "deploy/user/scheduler-service.service"
CONFIG = """
http: {{port: {port}}}
service: {{data_dir: data}}
watchlist: [AAPL]
providers: {{sandbox: {{enabled: true, latency: 1ms}}}}
domains: {{news: {{sources: [feeds]}}}}
schedules: [{{id: news, domain: news, trigger: {{every: 30m}}}}]
"""

pytestmark = pytest.mark.timeout(180)


class Ear:
    """A service manager's socket, and all that it has heard."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.lines: list[str] = []

    def heard(self, line: str) -> bool:
        """Whether it heard this word since it was last asked for it."""
        while True:
            try:
                self.lines += self.socket.recv(65_536).decode().split("\n")
            except BlockingIOError:
                break
        if line in self.lines:
            del self.lines[: self.lines.index(line) + 1]
            return True
        return False

    def forget(self) -> None:
        self.heard("nothing of this kind")
        self.lines.clear()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    ear = Ear(tmp_path / "notify")
    yield ear
    ear.socket.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    path = tmp_path / "config/scheduler.yaml"
    path.write_text(CONFIG.format(port=free_port()))
    return path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


async def test_a_service_manager_hears_of_start_life_and_stop(tmp_path: Path, config: Path, ear: Ear) -> None:
    async with running(tmp_path, settings=ear.environment) as service:
        await until(lambda: ear.heard("READY=1"), "READY=1")
        await service.until_it_says("ready after")
        await until(lambda: ear.heard("WATCHDOG=1"), "food for the watchdog")
        ear.forget()
        await until(lambda: ear.heard("READY=1"), "readiness again")
        assert ear.lines[0].startswith("STATUS=1 symbols; ")
        service.send(signal.SIGSTOP)
        time.sleep(0.2)
        ear.forget()
        time.sleep(0.6)
        assert not ear.heard("WATCHDOG=1")
        service.send(signal.SIGCONT)
        await until(lambda: ear.heard("WATCHDOG=1"), "food again")
        service.send(signal.SIGTERM)
        await until(lambda: ear.heard("STOPPING=1"), "STOPPING=1")
        assert await service.ended() == 0
        assert not ear.heard("READY=1")


async def test_reload_tells_what_became_of_it(tmp_path: Path, config: Path, ear: Ear) -> None:
    assert (await said(tmp_path, "reload")).code == 3
    async with running(tmp_path, settings=ear.environment) as service:
        await service.until_it_says("initial news: done")
        same = await said(tmp_path, "reload")
        assert (same.code, same.out) == (0, "the configuration was read anew, and nothing in it has changed\n")

        change(config, "[AAPL]", "[AAPL, NVDA]")
        ear.forget()
        changed = await said(tmp_path, "reload")
        assert changed.code == 0
        assert changed.out.startswith("the service has restarted with the changed configuration, in ")
        assert ear.heard("RELOADING=1")
        assert ear.lines[0].startswith("MONOTONIC_USEC=")
        assert ear.heard("READY=1")
        assert "STOPPING=1" not in ear.lines
        assert service.log.count(f"pid {service.process.pid}: ") == 2

        change(config, "every: 30m", "every: often")
        invalid = await said(tmp_path, "reload")
        assert invalid.code == 2
        assert "scheduler.yaml:7:" in invalid.err
        service.send(signal.SIGHUP)
        await service.until_it_says("ERROR    the changed configuration is not used: ")
        change(config, "every: often", "every: 30m")
        assert (await said(tmp_path, "reload")).code == 0

        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            change(config, "http: {port: ", f"http: {{port: {port}}} # ")
            refused = await said(tmp_path, "reload")
        assert (refused.code, refused.out) == (2, "")
        assert f"cannot listen on 127.0.0.1 port {port}" in refused.err
        degraded = await said(tmp_path, "status")
        assert degraded.code == 1
        assert "Problem: the configuration that was read last is not used" in degraded.out

        as_json = await said(tmp_path, "reload", "--json")
        assert as_json.code == 0
        assert '"outcome": "restarted"' in as_json.out
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
    assert "Traceback" not in service.log


async def test_the_log_follows_the_changed_configuration_and_an_impossible_one_changes_nothing(
    tmp_path: Path, config: Path
) -> None:
    (tmp_path / "file").touch()
    async with running(tmp_path) as service:
        await service.until_it_says("initial news: done")
        with config.open("a") as opened:
            opened.write(f"logging: {{file: {{path: {tmp_path}/file/log}}}}\n")
        refused = await said(tmp_path, "reload")
        assert refused.code == 2
        assert "logging.file.path" in refused.err
        await service.until_it_says("ERROR    the changed configuration is not used: ")
        change(config, f"{tmp_path}/file/log", str(tmp_path / "service.log"))
        change(config, "logging: {", "logging: {format: json, ")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            change(config, "http: {port: ", f"http: {{port: {taken.getsockname()[1]}}} # ")
            assert (await said(tmp_path, "reload")).code == 2
        await service.until_it_says("ERROR    the changed configuration is not used: cannot listen")
        assert (await said(tmp_path, "reload")).code == 0
        await service.until_it_says('"event":"config.reloaded"')
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
    assert '"event":"service.stopped"' in (tmp_path / "service.log").read_text()


async def test_a_stop_while_a_reload_drains_is_a_stop(tmp_path: Path, config: Path, ear: Ear) -> None:
    change(config, "latency: 1ms", "latency: 1m")
    change(config, "data_dir: data", "data_dir: data, drain_timeout: 2s")
    async with running(tmp_path, settings=ear.environment) as service:
        await service.until_it_says("ready after")
        change(config, "[AAPL]", "[NVDA]")
        service.send(signal.SIGHUP)
        await service.until_it_says("restarting with the changed configuration")
        service.send(signal.SIGHUP)
        ear.forget()
        service.send(signal.SIGTERM)
        await until(lambda: ear.heard("STOPPING=1"), "STOPPING=1")
        assert await service.ended() == 0
    assert service.log.count("ready after") == 1


async def test_a_hang_is_located_when_a_watchdog_ends_it(tmp_path: Path, config: Path) -> None:
    async with running(tmp_path) as service:
        await service.until_it_says("ready after")
        service.send(signal.SIGABRT)
        assert await service.ended() == -signal.SIGABRT
    assert "most recent call first" in service.log


@pytest.mark.skipif(shutil.which("setsid") is None, reason="there is no setsid here")
def test_a_closed_terminal_ends_what_runs_in_it(tmp_path: Path, config: Path) -> None:
    ours, theirs = pty.openpty()
    log = tmp_path / "log"
    with log.open("wb") as out:
        service = subprocess.Popen(
            ["setsid", "--ctty", *PROGRAM, "run"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
            stdin=theirs,
            stdout=out,
            stderr=out,
        )
    os.close(theirs)
    try:
        deadline = time.monotonic() + PATIENCE
        while "ready after" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(GLANCE)
        service.send_signal(signal.SIGHUP)  # with its terminal open that is a reload
        while "nothing in it has changed" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(GLANCE)
        assert service.poll() is None
        os.close(ours)
        assert service.wait(PATIENCE) == 0
        assert " stopped after " in log.read_text()
    finally:
        service.kill()
        service.wait()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
@pytest.mark.parametrize(("unit", "scope"), [(UNIT, "--system"), (USER_UNIT, "--user")], ids=["system", "user"])
def test_systemd_understands_every_line_of_the_unit(unit: Path, scope: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(tmp_path)}
    told = subprocess.run(
        ["systemd-analyze", scope, "verify", "--man=no", unit],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    if "Failed to initialize manager" in told.stderr:
        pytest.skip("systemd cannot look at units of a user here")
    complaints = [line for line in told.stderr.splitlines() if "is not executable" not in line]
    assert complaints == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_the_service_can_do_little_beyond_its_work() -> None:
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=15", UNIT],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    if "Unknown" in told.stderr or "unrecognized" in told.stderr:
        pytest.skip("this systemd cannot judge units that are not loaded")
    assert told.returncode == 0, told.stdout[-3_000:]
