"""The image under a container engine: built once, run with what compose.yaml says. Needs ``docker`` and its engine."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from ruamel.yaml import YAML

from tests.acceptance.commands import PATIENCE, ROOT, Said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WANTED = "SCHEDULER_IMAGE_TEST"
BASE = "SCHEDULER_IMAGE_BASE"
BUILD_OPTIONS = "SCHEDULER_IMAGE_BUILD_OPTIONS"
CONTEXT = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "requirements", "scheduler_service")
QUICK_HEALTH = ("--health-interval=1s", "--health-timeout=4s", "--health-retries=1", "--health-start-period=0s")
GLANCE = 0.2


def why_not() -> str | None:
    """Why no image can be built here; None where one can."""
    if not os.environ.get(WANTED):
        return f"building an image takes a minute or two: `make image-test`, or set {WANTED}=1"
    if shutil.which("docker") is None:
        return "there is no docker command"
    return None if docker("info", "--format", "{{.ServerVersion}}").code == 0 else "no container engine answers"


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


def copy_context(folder: Path) -> None:
    """What the image is built from, as a checkout has it."""
    for name in CONTEXT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)


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
        give_up = time.monotonic() + 2 * PATIENCE
        while not happened():
            assert time.monotonic() < give_up, f"waited in vain for {what}: {self.state()}\n{self.logs()}"
            time.sleep(GLANCE)

    def remove(self) -> None:
        docker("rm", "--force", "--volumes", self.name)
