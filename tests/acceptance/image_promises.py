"""What the image promises, however it was built and whoever runs it."""

from __future__ import annotations

import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from scheduler_service.settings.model import Http
from tests.acceptance.commands import PATIENCE, ROOT, Said

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WANTED = "IMAGE_TEST"
SECRET = "SEKRIT-7c1f0e5a9b"
CONTEXT = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "requirements", "scheduler_service")
GLANCE = 0.2
ASK = """
import sys, urllib.error, urllib.request
path, *token = sys.argv[1:]
headers = {"Authorization": f"Bearer {token[0]}"} if token else {}
try:
    print(urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:8321{path}", headers=headers)).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
WHERE_IT_LISTENS = (
    "import json; print(json.dumps([w[1] for w in map(str.split, open('/proc/net/tcp')) if w[3] == '0A']))"
)
LOOPBACK = "0100007F:"
"""As /proc/net/tcp writes 127.0.0.1."""


class Running(Protocol):
    """A service in a container."""

    def said(self, *command: str) -> Said:
        """What a command in it says."""

    def logs(self) -> str: ...


def not_wanted() -> str | None:
    """Why no image is to be built in this run of the tests; None where one is."""
    return (
        None if os.environ.get(WANTED) else f"building an image takes a minute or two: `make image-test` ({WANTED}=1)"
    )


def lay_checkout(folder: Path) -> None:
    """What the image is built from, with secrets and data lying about."""
    for name in CONTEXT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    for name in (".env", "config/scheduler.env", "data/http_token", "scheduler_service/__pycache__/x.pyc"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SECRET)


def until(happened: Callable[[], bool], what: str, logs: Callable[[], str]) -> None:
    """Looks again and again, for as long as a container may take."""
    give_up = time.monotonic() + 2 * PATIENCE
    while not happened():
        assert time.monotonic() < give_up, f"waited in vain for {what}:\n{logs()}"
        time.sleep(GLANCE)


def is_configured(config: dict[str, Any]) -> None:
    """``config`` is the image's, as Docker writes it."""
    assert (config["User"], config["Volumes"], config["WorkingDir"]) == ("10001:10001", {"/data": {}}, "/")
    assert (config["Entrypoint"], config["Cmd"], config["StopSignal"]) == (["scheduler-service"], ["run"], "SIGTERM")
    assert config["Healthcheck"]["Test"] == ["CMD", "scheduler-service", "status", "--ready"]


def runs_the_sandbox(service: Running) -> None:
    """Needs no file, no key and no network."""
    until(lambda: service.logs().count("initial") >= 4, "the first fetches", service.logs)
    for domain in ("news", "earnings", "fundamentals", "quotes"):
        document = orjson.loads(service.said("cat", f"/data/documents/{domain}/AAPL.json").out)
        assert document["sandbox"] is True
        assert document["data"]
    assert "Traceback" not in service.logs()


def is_confined(service: Running) -> None:
    status = dict(re.findall(r"^(\w+):\s*(.*)$", service.said("cat", "/proc/1/status").out, re.MULTILINE))
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split() == ["10001"] * 4
    for path in ("/x", "/opt/scheduler-service/x", "/config/x", "/etc/x", "/usr/x", "/var/tmp/x"):
        assert "Read-only file system" in service.said("touch", path).err
    assert service.said("touch", "/tmp/x").code == 0
    assert service.said("find", "/data", "-perm", "/077", "-not", "-type", "s").out == ""


def opens_its_port_to_who_has_the_token(service: Running) -> None:
    """Health is for everyone."""

    def answer(*arguments: str) -> str:
        return service.said("python", "-c", ASK, *arguments).out.strip()

    token = service.said("cat", "/data/http_token").out.strip()
    assert (answer("/healthz"), answer("/readyz"), answer("/readyz", "x" * 64)) == ("200", "401", "401")
    assert answer("/readyz", token) == "200"
    listens = orjson.loads(service.said("python", "-c", WHERE_IT_LISTENS).out)
    assert [address for address in listens if not address.startswith(LOOPBACK)] == [f"00000000:{Http().port:04X}"]
    assert token not in service.logs()
