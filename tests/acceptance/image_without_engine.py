"""The image without a container engine: built by buildah, run by bubblewrap with what its configuration says, as root.

Everything is below one folder, the store of the images too. The build needs no network of its own: pip's packages
are downloaded before by the pip that runs the tests, however that one reaches its index, and checked by their hashes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from tests.acceptance.commands import PATIENCE, ROOT, Said
from tests.acceptance.image_promises import not_wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

TOOLS = ("buildah", "mmdebstrap", "bwrap", "nsenter")
BASE = "localhost/scheduler-service-test-base"
BASE_PYTHON = "3.11"
"""Of the Debian that ``scripts/image-base`` takes."""
WHEELS = "/mnt"
"""Where the build sees them: an empty folder in every Debian, so that none is left behind in the image."""
NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session")
GIVING_UP = ("SETUID", "SETGID", "SETPCAP")
NO_CAPABILITY = ("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all")
OPEN_TMP = ("--perms", "1777", "--tmpfs", "/tmp")
ENTERED = ("--mount", "--pid", "--net", "--ipc", "--uts", "--root", "--wd")
SLOW = 240.0
"""Seconds that a step of the build may take."""


class CannotHere(Exception):
    """This machine lacks something that no change of the project would give it."""


def why_not() -> str | None:
    """Why no image can be built here without an engine; None where one probably can."""
    if (why := not_wanted()) is not None:
        return why
    if os.geteuid() != 0:
        return "building an image without an engine takes root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"missing: {', '.join(missing)} (Debian, Ubuntu: apt install buildah mmdebstrap bubblewrap)"
    probe = run("bwrap", *NAMESPACES, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true")
    return None if probe.code == 0 else f"no namespaces for bwrap: {probe.err.strip()}"


class Image:
    """An image built from a checkout, below a folder: what it is made of, and its files at ``root``."""

    name = "localhost/scheduler-service-test"

    def __init__(self, folder: Path, checkout: Path) -> None:
        self._folder = folder
        self._environment = os.environ | {
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/running"\n'
        )
        self._get("Debian's packages", str(ROOT / "scripts/image-base"), BASE, "buildah")
        self._get("the Python packages", *self._pip_download(), "--dest", str(folder / "wheels"))
        self._build(checkout)
        inspected = orjson.loads(self._buildah("inspect", "--type", "image", self.name))
        self.config: dict[str, Any] = inspected["Docker"]["config"]
        self.history: list[dict[str, Any]] = inspected["Docker"]["history"]
        container = self._buildah("from", self.name)
        self.root = Path(self._buildah("mount", container))

    def _pip_download(self) -> tuple[str, ...]:
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "download")
        what = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--python-version", BASE_PYTHON)
        return (*pip, *what, "--requirement", str(ROOT / "requirements/runtime.txt"))

    def _build(self, checkout: Path) -> None:
        (self._folder / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {WHEELS}\n")
        options = ("--quiet", "--format=docker", f"--build-arg=BASE={BASE}", f"--tag={self.name}")
        secret = f"--secret=id=pip.conf,src={self._folder / 'pip.conf'}"
        wheels = f"--volume={self._folder / 'wheels'}:{WHEELS}:ro"
        self._buildah("build", *options, secret, wheels, str(checkout))

    def _buildah(self, *arguments: str) -> str:
        ended = run("buildah", *arguments, environment=self._environment)
        assert ended.code == 0, (arguments, ended)
        return ended.out.strip()

    def _get(self, what: str, *command: str) -> None:
        ended = run(*command, environment=self._environment)
        if ended.code != 0:
            raise CannotHere(f"{what} cannot be had here: {' '.join(ended.err.split())[-300:]}")


class Box:
    """A service of an image as its process 1: its user, a read-only root, no capability, no network but a loopback."""

    def __init__(self, image: Image, data: Path) -> None:
        self._config = image.config
        uid, gid = self._config["User"].split(":")
        self._environment = dict(entry.split("=", 1) for entry in self._config["Env"])
        self._log = data.with_suffix(".log")
        if not data.exists():  # as an engine makes a volume: with what the image says of the folder
            shutil.copytree(image.root / "data", data)
            os.chown(data, int(uid), int(gid))
        root = ("--ro-bind", str(image.root), "/", "--proc", "/proc", "--dev", "/dev", *OPEN_TMP)
        place = ("--bind", str(data), "/data", "--chdir", self._config["WorkingDir"], "--clearenv", *self._variables())
        # Of the capabilities those are left that give up the others, and setpriv gives up these too.
        few = ("--cap-drop", "ALL", *(part for name in GIVING_UP for part in ("--cap-add", f"CAP_{name}")))
        user = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs", *NO_CAPABILITY)
        command = (*self._config["Entrypoint"], *self._config["Cmd"])
        reading, writing = os.pipe()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["bwrap", *NAMESPACES, "--as-pid-1", "--info-fd", str(writing), *root, *place, *few, *user, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
            )
        os.close(writing)
        self._inside: int | None = None
        with open(reading, "rb") as information:
            told = information.read()
        if not told:
            self.remove()
        assert told, self.logs()
        self._inside = inside = int(orjson.loads(told)["child-pid"])
        self._enter = ("nsenter", f"--target={inside}", *ENTERED, f"--setuid={uid}", f"--setgid={gid}")

    def said(self, *command: str) -> Said:
        """What a command in it says, with the variables of the image."""
        variables = (f"{name}={value}" for name, value in self._environment.items())
        return run(*self._enter, "/usr/bin/env", "--ignore-environment", *variables, *command)

    def logs(self) -> str:
        return self._log.read_text()

    def is_healthy(self) -> bool:
        """What the health check of the image says."""
        assert self._process.poll() is None, self.logs()
        return self.said(*self._config["Healthcheck"]["Test"][1:]).code == 0

    def ended_by(self, number: signal.Signals) -> int:
        """Its exit code after a signal."""
        assert self._inside is not None
        os.kill(self._inside, number)
        return self._process.wait(PATIENCE)

    def remove(self) -> None:
        if self._process.poll() is None:
            if self._inside is not None:
                with suppress(ProcessLookupError):
                    os.kill(self._inside, signal.SIGKILL)  # all in it dies with it; it does not die with its parent
            self._process.kill()
            self._process.wait(PATIENCE)

    def _variables(self) -> list[str]:
        return [part for name, value in self._environment.items() for part in ("--setenv", name, value)]


def run(*command: str, environment: Mapping[str, str] | None = None) -> Said:
    """How a command ended."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SLOW, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return Said(124, "", f"not done after {SLOW:.0f} s")
    return Said(ended.returncode, ended.stdout, ended.stderr)
