"""What ``status`` prints."""

from __future__ import annotations

import pytest

from scheduler_service.cli.status import print_status
from scheduler_service.cli.status import status as print_and_exit
from scheduler_service.settings.load import SANDBOX_CONFIG
from scheduler_service.web.client import ControlClient
from scheduler_service.web.views import HealthView, ModelTrust, Readiness, Status

SAID = Status(
    name="stocks",
    version="0",
    pid=1,
    started_at="2026-11-23T15:00:00Z",
    now="2026-11-23T15:00:00Z",
    data_dir="/data",
    sandbox=False,
    readiness=Readiness(ready=True, state="ready", steps=()),
    freshness=(),
    running=0,
    queued=0,
    next=(),
    providers=(),
    problems=("news: the last fetch of 3 of 9 failed",),
    health=HealthView(state="degraded", reasons=("news: the last fetch of 2 of 9 failed", "the disk is nearly full")),
    models=(
        ModelTrust(source="a", verified=2, conflicting=1, unverified=0, conflicting_symbols=("INITX",)),
        ModelTrust(source="b", verified=2, conflicting=9, unverified=0, conflicting_symbols=tuple("ABCDEFGHI")),
        ModelTrust(source="c", verified=2, conflicting=0, unverified=0),
    ),
)


def test_a_problem_is_told_once_though_health_counted_it_a_minute_ago(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(SAID)
    said = capsys.readouterr().out
    assert "Health: degraded: the disk is nearly full\n" in said
    assert said.count("the last fetch of") == 1
    assert "Problem: news: the last fetch of 3 of 9 failed\n" in said


@pytest.mark.parametrize(
    ("problems", "looked", "word", "code"),
    [
        ((), "healthy", "ready", 0),
        (("p",), "healthy", "degraded", 1),
        (("p",), "unhealthy", "unhealthy", 1),
        ((), "degraded", "degraded", 1),
        ((), "unhealthy", "unhealthy", 1),
    ],
)
def test_it_says_one_word_of_how_it_is_and_exits_by_it(
    problems: tuple[str, ...],
    looked: str,
    word: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = SAID.model_copy(update={"problems": problems, "health": HealthView(state=looked, reasons=())})

    async def status(_: ControlClient) -> Status:
        return said

    monkeypatch.setattr(ControlClient, "status", status)
    assert print_and_exit([SANDBOX_CONFIG], only_ready=False, as_json=False) == code
    printed = capsys.readouterr().out
    assert printed.startswith(f"stocks is {word}: ")
    assert f"Health: {'healthy' if word == 'ready' else word}\n" in printed


def test_it_names_the_port_that_was_taken(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(SAID.model_copy(update={"http": "http://127.0.0.1:41234"}))
    assert "Health is answered at http://127.0.0.1:41234/healthz and /readyz\n" in capsys.readouterr().out


def test_the_stocks_whose_figures_conflict_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(SAID)
    said = capsys.readouterr().out
    assert "Figures stated by a, beside the filings: 2 verified, 1 conflicting (INITX), 0 unverified\n" in said
    assert " 9 conflicting (A, B, C, D, E, ...), " in said
    assert " 0 conflicting, " in said
