"""What the installation of the service puts where, with a Python that only pretends to install packages."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.commands import ROOT

PRETENDING = """#!/bin/sh
# venv makes a folder with a copy of this; pip says what it is asked for; what is left is the real Python's
case "$*" in
*"-m venv "*)
    for made; do :; done
    mkdir -p "$made/bin"
    cp "$0" "$made/bin/python"
    echo "home = $made" >"$made/pyvenv.cfg"
    printf '#!%s/bin/python\\n' "$made" >"$made/bin/scheduler-service"
    chmod +x "$made/bin/scheduler-service" ;;
*"-m pip "*) echo "$*" >>"$PIP_LOG"; [ ! -e "$PIP_LOG.fails" ] ;;
*"-m compileall "*) ;;
*"-m scheduler_service "*) while [ "$1" != -m ]; do shift; done; PYTHONPATH="$CHECKOUT" exec "$REAL" "$@" ;;
*) exec "$REAL" "$@" ;;
esac
"""


class Machine:
    """A folder that stands for the root directory, or for somebody's home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.home = folder / "home"
        self.pip = folder / "pip.log"
        self.python = folder / "pretending-python"
        self.python.write_text(PRETENDING)
        self.python.chmod(0o755)
        self.home.mkdir()

    def make(self, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHON": str(self.python),
            "REAL": sys.executable,
            "CHECKOUT": str(ROOT),
            "PIP_LOG": str(self.pip),
            "DESTDIR": str(self.root),
        }
        command = ["make", "--no-print-directory", "-C", str(ROOT), target]
        return subprocess.run(command, env=environ | variables, capture_output=True, text=True, check=False, timeout=50)

    def text(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def mode(self, path: str) -> int:
        return stat.S_IMODE((self.root / path.lstrip("/")).stat().st_mode)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_it_installs_program_unit_command_and_a_configuration_to_fill_in(machine: Machine) -> None:
    done = machine.make("install-service")
    assert done.returncode == 0, done.stderr
    locked, itself = machine.pip.read_text().splitlines()
    assert "--require-hashes -r requirements/runtime.txt" in locked
    assert itself.endswith("--no-deps .")
    assert (
        machine.text("/etc/systemd/system/scheduler-service.service")
        == (ROOT / "deploy/scheduler-service.service").read_text()
    )
    assert machine.mode("/usr/local/bin/scheduler-service") == 0o755
    assert machine.mode("/etc/scheduler-service/credentials") == 0o700
    assert machine.mode("/etc/scheduler-service/scheduler.env") == 0o600
    assert machine.mode("/etc/scheduler-service/scheduler.yaml") == 0o644
    assert machine.text("/opt/scheduler-service/bin/scheduler-service") == "#!/opt/scheduler-service/bin/python\n"
    assert sorted(path.name for path in (machine.root / "opt").iterdir()) == ["scheduler-service"]
    assert "systemctl enable --now scheduler-service" in done.stderr


def test_installing_again_keeps_what_is_the_users_own(machine: Machine) -> None:
    machine.make("install-service")
    config = machine.root / "etc/scheduler-service"
    (config / "scheduler.yaml").write_text("mine")
    (config / "credentials/perplexity_api_key").write_text("mine too")
    (machine.root / "opt/scheduler-service/old").touch()
    assert machine.make("install-service").returncode == 0
    assert (config / "scheduler.yaml").read_text() == "mine"
    assert (config / "credentials/perplexity_api_key").read_text() == "mine too"
    assert not (machine.root / "opt/scheduler-service/old").exists()


def test_an_installation_that_fails_leaves_the_one_before(machine: Machine) -> None:
    machine.make("install-service")
    (machine.root / "opt/scheduler-service/old").touch()
    Path(f"{machine.pip}.fails").touch()
    failed = machine.make("install-service")
    assert failed.returncode != 0
    assert "What was installed before is as it was" in failed.stderr
    assert (machine.root / "opt/scheduler-service/old").exists()
    assert [path.name for path in (machine.root / "opt").iterdir()] == ["scheduler-service"]


def test_another_prefix_is_in_everything_that_names_it(machine: Machine) -> None:
    assert machine.make("install-service", PREFIX="/srv/stocks").returncode == 0
    for path in ("/etc/systemd/system/scheduler-service.service", "/usr/local/bin/scheduler-service"):
        assert "/srv/stocks/bin/python" in machine.text(path)
        assert "/opt/" not in machine.text(path)
    assert machine.make("remove-service", PREFIX="/srv/stocks").returncode == 0
    assert list((machine.root / "srv").iterdir()) == []


@pytest.mark.parametrize("prefix", ["relative", "/", "/a b", "/x|y", "/a;b"])
def test_a_prefix_that_cannot_be_meant_is_refused(machine: Machine, prefix: str) -> None:
    refused = machine.make("install-service", PREFIX=prefix)
    assert refused.returncode != 0
    assert f"PREFIX={prefix}: " in refused.stderr
    assert not machine.root.exists()


def locks(machine: Machine) -> list[str]:
    """Of each installation so far."""
    return [
        line.partition("requirements/")[2] for line in machine.pip.read_text().splitlines() if "requirements" in line
    ]


@pytest.mark.parametrize("target", ["install-service", "install-user-service"])
def test_alerts_by_apprise_are_an_extra_that_is_asked_for(machine: Machine, target: str) -> None:
    plain = machine.make(target)
    assert f"make {target} EXTRAS=alerts" in plain.stderr
    asked = machine.make(target, EXTRAS="alerts")
    assert asked.returncode == 0, asked.stderr
    assert "EXTRAS=alerts" not in asked.stderr
    assert locks(machine) == ["runtime.txt", "alerts.txt"]


def test_installing_again_drops_no_extra_unless_it_is_told_to(machine: Machine) -> None:
    machine.make("install-service")
    (machine.root / "opt/scheduler-service/lib/python3.13/site-packages/apprise").mkdir(parents=True)
    machine.make("install-service")  # with what stands for the apprise of before
    (machine.root / "opt/scheduler-service/lib/python3.13/site-packages/apprise").mkdir(parents=True)
    machine.make("install-service", EXTRAS="")
    assert locks(machine) == ["runtime.txt", "alerts.txt", "runtime.txt"]


def test_an_extra_that_is_none_is_refused(machine: Machine) -> None:
    refused = machine.make("install-service", EXTRAS="mail")
    assert refused.returncode != 0
    assert "EXTRAS=mail: there is one extra, alerts" in refused.stderr
    assert not machine.root.exists()


def test_removing_leaves_configuration_and_data_and_says_so(machine: Machine) -> None:
    machine.make("install-service")
    done = machine.make("remove-service")
    assert done.returncode == 0
    files = {str(path.relative_to(machine.root)) for path in machine.root.rglob("*") if path.is_file()}
    assert all(name.startswith("etc/scheduler-service/") for name in files)
    assert "etc/scheduler-service/scheduler.yaml" in files
    assert "/etc/scheduler-service" in done.stderr
    assert "/var/lib/scheduler-service" in done.stderr
    assert machine.make("remove-service").returncode == 0


def test_a_folder_that_is_no_installation_is_not_removed(machine: Machine) -> None:
    own = machine.root / "srv/photos"
    own.mkdir(parents=True)
    (own / "photo").touch()
    machine.make("remove-service", PREFIX="/srv/photos")
    assert (own / "photo").exists()


def test_a_user_has_everything_at_home(machine: Machine) -> None:
    done = machine.make("install-user-service")
    assert done.returncode == 0, done.stderr
    home = str(machine.home)
    unit = machine.text(f"{home}/.config/systemd/user/scheduler-service.service")
    assert f"ExecStart={home}/.local/lib/scheduler-service/bin/python " in unit
    assert f"python={home}/.local/lib/scheduler-service/bin/python\n" in machine.text(
        f"{home}/.local/bin/scheduler-service"
    )
    assert machine.mode(f"{home}/.config/scheduler-service/scheduler.yaml") == 0o644
    assert "systemctl --user enable --now" in done.stderr
    assert not (machine.root / "etc").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may install for the machine")
def test_without_root_the_machine_is_not_changed(machine: Machine) -> None:
    refused = machine.make("install-service", DESTDIR="")
    assert refused.returncode != 0
    assert "sudo make install-service" in refused.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can mistake itself for a user")
def test_root_does_not_install_for_itself_alone(machine: Machine) -> None:
    refused = machine.make("install-user-service", DESTDIR="")
    assert refused.returncode != 0
    assert "make install-service" in refused.stderr
