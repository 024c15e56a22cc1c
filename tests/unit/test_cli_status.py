"""What ``status`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.cli.status import print_status
from scheduler_service.web.views import HealthView, ModelTrust, Readiness, Status

if TYPE_CHECKING:
    import pytest

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


def test_the_stocks_whose_figures_conflict_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(SAID)
    said = capsys.readouterr().out
    assert "Figures stated by a, beside the filings: 2 verified, 1 conflicting (INITX), 0 unverified\n" in said
    assert " 9 conflicting (A, B, C, D, E, ...), " in said
    assert " 0 conflicting, " in said
