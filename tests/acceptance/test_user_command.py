"""The installed command of one user: which variables the program gets, with a program that only shows them."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.commands import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SHOWING = """#!/usr/bin/env python3
import json, os, sys
print(json.dumps([sys.argv[1:], dict(os.environ)]))
"""
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)] or ["sh"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    python = tmp_path / ".local/lib/scheduler-service/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(SHOWING)
    python.chmod(0o755)
    (tmp_path / ".config/scheduler-service").mkdir(parents=True)
    return tmp_path


def command(home: Path, *arguments: str, shell: str = "sh") -> subprocess.CompletedProcess[str]:
    words = [shell, str(ROOT / "deploy/user/scheduler-service"), *arguments]
    environ = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    return subprocess.run(words, env=environ, cwd=home, capture_output=True, text=True, check=False, timeout=20)


def variables(home: Path) -> Path:
    return home / ".config/scheduler-service/scheduler.env"


def test_without_a_file_of_variables_it_is_the_users_own_service_all_the_same(home: Path) -> None:
    said, environ = json.loads(command(home, "show", "A B").stdout)
    assert said == ["-I", "-B", "-m", "scheduler_service", "show", "A B"]
    assert environ["SCHEDULER_CONFIG"] == f"{home}/.config/scheduler-service/scheduler.yaml"
    assert environ["STATE_DIRECTORY"] == f"{home}/.local/share/scheduler-service"
    assert environ["CREDENTIALS_DIRECTORY"] == f"{home}/.config/scheduler-service/credentials"


@pytest.mark.parametrize("shell", SHELLS)
def test_variables_are_read_as_systemd_reads_them_and_nothing_is_carried_out(home: Path, shell: str) -> None:
    """The values are those that the parser of systemd 252 gives for the same lines."""
    lines = {
        "A=Jane Doe jane.doe@example.com": "Jane Doe jane.doe@example.com",
        "B='Jane Doe jane.doe@example.com'": "Jane Doe jane.doe@example.com",
        'C="Jane Doe jane.doe@example.com"  ': "Jane Doe jane.doe@example.com",
        "  D = blanks around  ": "blanks around",
        'E=a"b"c': 'a"b"c',
        """F='[{"a": "\\\\"}]'""": '[{"a": "\\\\"}]',
        "G=a # b": "a # b",
        "H=$(touch carried-out)": "$(touch carried-out)",
        'I="`touch carried-out`$HOME"': "`touch carried-out`$HOME",
        "J=x; touch carried-out": "x; touch carried-out",
        "K=": "",
        "L=''": "",
        "M=a=b": "a=b",
        "N=*": "*",
        "O=with a return\r": "with a return",
        "STATE_DIRECTORY=/elsewhere": "/elsewhere",
        "P=without an end": "without an end",
    }
    variables(home).write_text("# a comment\n; another\n\n \t\n" + "\n".join(lines), newline="")
    done = command(home, shell=shell)
    environ = json.loads(done.stdout)[1]
    assert {line: environ[line.partition("=")[0].strip()] for line in lines} == lines
    assert done.stderr == ""
    assert not (home / "carried-out").exists()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "line",
    [
        "pplx-secret",
        "pplxsecret",
        "export A=secret",
        "=secret",
        "1A=secret",
        "A=a\\ secret",
        "A='secret",
        'A="',
        "A='",
        "A='a' secret",
        "A='it'\\''s secret'",
        'A="\\"secret"',
        "number=a[$(touch carried-out)]",
        "python=secret",
    ],
)
def test_what_systemd_would_read_otherwise_is_refused_without_a_word_of_it(home: Path, line: str, shell: str) -> None:
    variables(home).write_text(f"# a comment\n{line}\n")
    done = command(home, shell=shell)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{variables(home)}:2: write it as NAME=value")
    assert "secret" not in done.stderr
    assert not (home / "carried-out").exists()


def test_the_advice_of_the_template_gives_the_same_in_a_shell(home: Path) -> None:
    variables(home).write_text("SCHEDULER_PROVIDERS__EDGAR__USER_AGENT='Jane Doe jane.doe@example.com'\n")
    words = ["sh", "-c", f'set -a; . {variables(home)}; set +a; printf %s "$SCHEDULER_PROVIDERS__EDGAR__USER_AGENT"']
    in_a_shell = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout
    environ = json.loads(command(home).stdout)[1]
    assert environ["SCHEDULER_PROVIDERS__EDGAR__USER_AGENT"] == in_a_shell == "Jane Doe jane.doe@example.com"
