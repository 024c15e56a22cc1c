"""The image under a container engine: built once, run with what compose.yaml says. Needs ``docker`` and its engine."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from ruamel.yaml import YAML

from tests.acceptance.commands import PATIENCE, ROOT, Said
from tests.acceptance.image_promises import not_wanted, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BASE = "IMAGE_BASE"
BUILD_OPTIONS = "IMAGE_BUILD_OPTIONS"
QUICK_HEALTH = ("--health-interval=1s", "--health-timeout=4s", "--health-retries=1", "--health-start-period=0s")


def why_not() -> str | None:
    """Why no image can be built here by an engine; None where one can."""
    if (why := not_wanted()) is not None:
        return why
    if shutil.which("docker") is None:
        return "there is no docker command"
    return None if docker("info", "--format", "{{.ServerVersion}}").code == 0 else "no container engine answers"


def has_base() -> bool:
    """Whether the engine has the base of the image, or can get it."""
    (pinned,) = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    base = os.environ.get(BASE) or pinned
    return docker("image", "inspect", base).code == 0 or docker("pull", "--quiet", base, seconds=300).code == 0


def compose() -> dict[str, Any]:
    read: dict[str, Any] = YAML(typ="safe").load((ROOT / "compose.yaml").read_text())
    return read


def docker(*arguments: str, seconds: float = PATIENCE) -> Said:
    """Runs a command of the engine to its end."""
    environment = os.environ | {"DOCKER_BUILDKIT": "1"}
    ended = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=seconds, env=environment, check=False
    )
    return Said(ended.returncode, ended.stdout, ended.stderr)


def docker_must(*arguments: str, seconds: float = PATIENCE) -> str:
    """The output of a command that has to work."""
    ended = docker(*arguments, seconds=seconds)
    assert ended.code == 0, (arguments, ended)
    return ended.out


@contextmanager
def built(folder: Path) -> Iterator[str]:
    """The name of an image built from a folder, removed at the end."""
    tag = f"scheduler-service-test:{secrets.token_hex(4)}"
    base = ("--build-arg", f"BASE={os.environ[BASE]}") if os.environ.get(BASE) else ()
    options = shlex.split(os.environ.get(BUILD_OPTIONS, ""))
    docker_must("build", "--tag", tag, *base, *options, str(folder), seconds=540)
    try:
        yield tag
    finally:
        docker("image", "rm", "--force", tag)


def promised_options() -> list[str]:
    """What compose.yaml says of the container's confinement and its end, for ``docker run``."""
    service = compose()["services"]["scheduler"]
    return [
        *(["--read-only"] if service["read_only"] else []),
        *(["--init"] if service["init"] else []),
        *(f"--tmpfs={mount}" for mount in service["tmpfs"]),
        *(f"--cap-drop={capability}" for capability in service["cap_drop"]),
        *(f"--security-opt={option}" for option in service["security_opt"]),
        f"--memory={service['mem_limit']}",
        f"--pids-limit={service['pids_limit']}",
        f"--stop-timeout={service['stop_grace_period'].removesuffix('s')}",
    ]


class Container:
    """A container of the image, without a network."""

    def __init__(self, image: str, *options: str) -> None:
        self.name = f"scheduler-test-{secrets.token_hex(4)}"
        always = ("--network=none", f"--name={self.name}", *QUICK_HEALTH, *promised_options())
        docker_must("run", "--detach", *always, *options, image)

    def said(self, *command: str) -> Said:
        """What a command in it says."""
        return docker("exec", self.name, *command)

    def logs(self) -> str:
        ended = docker("logs", self.name)
        return ended.out + ended.err

    def state(self) -> dict[str, Any]:
        read: dict[str, Any] = orjson.loads(docker_must("inspect", self.name, "--format", "{{json .State}}"))
        return read

    def health(self) -> str:
        health: str = self.state()["Health"]["Status"]
        return health

    def until(self, happened: Callable[[], bool], what: str) -> None:
        until(happened, what, lambda: f"{self.state()}\n{self.logs()}")

    def remove(self) -> None:
        docker("rm", "--force", "--volumes", self.name)
