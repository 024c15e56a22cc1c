"""The program as a user starts it, where no service needs to run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler_service import __version__

CHECKOUT = Path(__file__).resolve().parents[2]
FEW = """\
providers: {sandbox: {enabled: true}}
watchlist: [ACMEX, INITX]
domains:
  news: {sources: [{use: feeds, fresh_for: 50m}, {use: perplexity, fresh_for: 12h}]}
  earnings: {sources: [{use: edgar, fresh_for: 20h}]}
  quotes: {sources: [{use: finnhub, fresh_for: 50m}]}
schedules:
  - {id: news, domain: news, trigger: {every: 1h}}
  - {id: earnings, domain: earnings, trigger: {cron: "0 7 * * mon-fri"}}
  - {id: quotes, domain: quotes, trigger: {every: 1h}, during: {market: XNYS}}
"""
"""Of a sandbox that is soon simulated."""


def program(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs it in an otherwise empty folder."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SCHEDULER_")}
    return subprocess.run(
        [sys.executable, "-m", "scheduler_service", *arguments],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_it_tells_its_version(tmp_path: Path) -> None:
    done = program(tmp_path, "version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"scheduler-service {__version__}\n", "")


def test_two_bad_files_are_all_told_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("http: {port: eighty}\n")
    (tmp_path / "two.yaml").write_text(
        "domains: {news: {sources: [feedz]}}\nschedules:\n  - {id: a, domain: newz, trigger: {cron: '99 * * * *'}}\n"
    )
    done = program(tmp_path, "-c", "one.yaml", "-c", "two.yaml", "check")
    assert (done.returncode, done.stdout) == (2, "")
    places = [line.split(" ")[0] for line in done.stderr.splitlines()]
    assert places[0] == "one.yaml:1:14"
    assert {place.rpartition(":")[0] for place in places[1:]} <= {"two.yaml:1", "two.yaml:3"}
    assert "Traceback" not in done.stderr


def test_the_packaged_sandbox_is_valid_and_said_to_be_used(tmp_path: Path) -> None:
    done = program(tmp_path, "check")
    assert done.returncode == 0
    assert "Configuration: the packaged sandbox" in done.stderr
    assert "The configuration is valid" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_next_prints_exactly_the_slots_of_its_window(tmp_path: Path) -> None:
    done = program(
        tmp_path, "next", "--job", "earnings-morning", "--days", "3", "--at", "2026-11-25T12:00:00Z", "--json"
    )
    assert done.returncode == 0
    assert json.loads(done.stdout) == [
        {
            "schedule_id": "earnings-morning",
            "due_at": f"2026-11-{day}T12:00:00Z",
            "local": f"2026-11-{day}T07:00:00-05:00",
            "note": "",
        }
        for day in (26, 27)
    ]


def test_a_simulation_says_the_same_twice_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text(FEW)
    fault = ("--fault", "500:feeds:30m@day1T10:00")
    wanted = ("-c", "few.yaml", "simulate", "--days", "1", "--from", "2027-01-04", *fault, "--json")
    once, again = program(tmp_path, *wanted), program(tmp_path, *wanted)
    assert (once.returncode, again.returncode) == (0, 0)
    assert once.stdout == again.stdout
    report = json.loads(once.stdout)
    assert report["start"] == "2027-01-04T05:00:00Z"
    assert {one["provider"] for one in report["providers"]} == {"edgar", "feeds", "finnhub", "perplexity"}
    assert [path.name for path in tmp_path.iterdir()] == ["few.yaml"]


def test_a_simulation_shows_tables_and_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text(FEW)
    wanted = ("simulate", "--days", "1", "--from", "2027-01-04", "--fault", "crash@day1T10:00")
    done = program(tmp_path, "-c", "few.yaml", *wanted)
    assert done.returncode == 0
    assert "the process was started 2 times" in done.stdout
    assert "Calls per hour:" in done.stdout
    assert "news: " in done.stdout
    assert "Traceback" not in done.stderr
    assert max(map(len, done.stdout.splitlines()[8:])) < 400


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fault", "crash@never"), "'never' is no time"),
        (("--fault", "outage:edgr:1h@day1"), "did you mean edgar?"),
        (("--from", "soon"), "write a date such as 2027-01-04"),
        (("--from", "2020-01-01"), "believes no clock before that"),
        (("--days", "0"), "0 is not in the range"),
    ],
)
def test_what_cannot_be_simulated_is_2_in_words(tmp_path: Path, arguments: tuple[str, str], said: str) -> None:
    done = program(tmp_path, "simulate", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_status_of_nothing_is_3(tmp_path: Path) -> None:
    done = program(tmp_path, "status", "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "start one: scheduler-service run" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"), [(("show", "AAPL", "--json"), 1), (("next", "--json"), 0), (("next", "--count", "40"), 0)]
)
def test_a_reader_that_leaves_early_is_no_error_and_changes_no_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    command = " ".join((sys.executable, "-m", "scheduler_service", *arguments))
    done = subprocess.run(
        ["sh", "-c", f"{{ {command} 2>errors; echo $? >code; }} | true; cat code errors"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert "Traceback" not in done.stdout
    assert "BrokenPipe" not in done.stdout
    assert done.stdout.splitlines()[0] == str(code)
