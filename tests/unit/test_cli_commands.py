"""The commands at their edges: help, usage, exit codes, and what --help must not cost."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from scheduler_service import __version__
from scheduler_service.cli.arguments import STATUSES
from scheduler_service.cli.commands import Commands, cli
from scheduler_service.errors import (
    AlreadyRunning,
    ConfigurationError,
    DataDirectoryError,
    NotRunning,
    Problem,
    SchedulerServiceError,
)
from scheduler_service.models import SlotOutcome, TaskState
from scheduler_service.redaction import register_secret

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = [
    "run",
    "init",
    "check",
    "next",
    "fetch",
    "show",
    "status",
    "history",
    "freshness",
    "why",
    "budget",
    "doctor",
    "schema",
    "simulate",
    "run-now",
    "pause",
    "resume",
    "retry",
    "cancel",
    "release",
    "reload",
    "prune",
    "backup",
    "restore",
    "version",
]


@pytest.fixture(autouse=True)
def nobody_named_a_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SCHEDULER_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def test_help_lists_the_commands_in_the_order_of_their_use() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    listed = result.stdout.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "][: len(COMMANDS)] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "-h"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: cli {command}")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from scheduler_service.cli.commands import cli; cli(['--help'], standalone_mode=False);"
        "heavy = ['pydantic', 'aiohttp', 'sqlalchemy', 'rich', 'asyncio', 'loguru', 'scheduler_service.models'];"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version_is_one_line_or_one_json_value() -> None:
    for written in ("version", "--version"):
        assert CliRunner().invoke(cli, [written]).stdout == f"scheduler-service {__version__}\n"
    assert json.loads(CliRunner().invoke(cli, ["version", "--json"]).stdout) == {"version": __version__}


def test_every_state_and_outcome_can_be_asked_for() -> None:
    assert set(STATUSES) == {*TaskState, *SlotOutcome}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError([Problem("c.yaml:1:1", "http.port", "it is \x1b[31mred")]), 2),
        (NotRunning("nobody there"), 3),
        (AlreadyRunning("/data", 7), 4),
        (DataDirectoryError("no space"), 1),
        (SchedulerServiceError("the key hunter2222 is wrong"), 1),
        (KeyboardInterrupt(), 130),
        (PermissionError(13, "Permission denied", "/data"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_its_sentence_and_its_code(error: BaseException, code: int) -> None:
    register_secret("hunter2222")

    @click.group(cls=Commands)
    def group() -> None: ...

    @group.command()
    def fail() -> int:
        raise error

    result = CliRunner().invoke(group, ["fail"])
    assert (result.exit_code, result.stdout) == (code, "")
    assert "Traceback" not in result.stderr
    assert "\x1b" not in result.stderr
    assert "hunter" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["next", "--days", "0"], "0 is not in the range"),
        (["next", "--at", "2026-02-30"], "there is no such time: day is out of range for month"),
        (["next", "--at", "0001-01-01T00:00:00Z"], "is out of range: years 1970 to 8999 can be asked about"),
        (["next", "--job", "nws"], "there is no schedule 'nws'; did you mean news?"),
        (["fetch", "newz", "AAPL"], "there is no domain 'newz'; did you mean news?"),
        (["fetch", "news", "AAPL", "--source", "fedes"], "there is no source of news 'fedes'; did you mean feeds?"),
        (["fetch", "news"], "Missing argument 'SYMBOL...'"),
        (["fetch", "news", "A B"], "a symbol has 1 to 64 visible characters"),
        (["show", "\x1b[31m"], "'\\x1b[31m': a symbol has"),
        (["show", "AAPL", "newz"], "there is no domain 'newz'"),
        (["history", "--last", "soon"], "--last 'soon' is not a duration"),
        (["history", "--status", "dead"], "'dead' is not one of"),
        (["why", "aapl"], "aapl is a symbol; a schedule or a domain comes first: why "),
        (["why", "nws"], "there is no schedule or domain 'nws'; did you mean news?"),
        (["why", "news", "--at", "noon"], "write a time such as 2027-01-04T09:00:00Z, or"),
        (["pause"], "name one schedule, or give --all"),
        (["pause", "news", "--all"], "name one schedule, or give --all"),
        (["cancel", "x"], "'x' is not a valid whole number."),
        (["simulate", "--days", "two"], "'two' is not a valid whole number."),
        (["resume"], "name one schedule, or give --all"),
        (["pause", "news", "--for", "long"], "--for 'long' is not a duration"),
        (["pause", "news", "--for", "0s"], "--for '0s' is no time at all"),
        (["pause", "news", "--reason", "x" * 201], "--reason has 201 characters"),
    ],
)
def test_what_cannot_be_meant_is_said_in_words(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr
    assert "\x1b" not in result.stderr


def test_it_says_which_configuration_it_uses_when_none_was_named(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/scheduler.yaml").write_text("watchlist: [AAPL]\n")
    assert "config/scheduler.yaml, found there" in CliRunner().invoke(cli, ["next"]).stderr
    assert CliRunner().invoke(cli, ["-c", "config/scheduler.yaml", "next"]).stderr == ""


@pytest.mark.parametrize("arguments", [["pause", "news", "--for", "2h"], ["resume", "--all"], ["pause", "nws"]])
def test_without_a_service_nothing_can_be_paused(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "start one: scheduler-service run" in result.stderr


@pytest.mark.parametrize("arguments", [["status"], ["pause", "news"], ["reload"], ["cancel", "1"], ["show", "AAPL"]])
def test_a_configuration_that_is_not_there_is_a_mistake_and_no_service_that_does_not_run(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in (["-c", "/nonexistent", *arguments], arguments):
        result = CliRunner().invoke(cli, given)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "/nonexistent: the file does not exist; give the path of an existing one" in result.stderr
        assert "/data" not in result.stderr
        monkeypatch.setenv("SCHEDULER_CONFIG", "/nonexistent")


def test_a_simulation_that_will_have_no_backup_to_restore_does_not_begin() -> None:
    result = CliRunner().invoke(cli, ["simulate", "--days", "1", "--fault", "restore@day1T14:30"])
    assert result.exit_code == 2
    assert "no backup will have been made to restore; set backup.trigger" in result.stderr


@pytest.mark.parametrize("arguments", [["show", "AAPL"], ["history"]])
def test_a_directory_where_nothing_has_run_is_said_to_be_one(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert "nothing has run here yet" in result.stderr
