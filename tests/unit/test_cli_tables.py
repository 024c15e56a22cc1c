"""Tables on terminals that are too narrow for them: no column is lost, and nothing is cut without a mark."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.cli.terminal import shares, table

COLUMNS = ["due (UTC)", "schedule", "in words", "slots"]
ROW = ("2026-12-01T22:00:00Z", "fundamentals-evening", "at 18:30 on Monday through Friday, America/New_York", 12_345)


@pytest.mark.parametrize("width", [20, 60, 80, 100, 200])
def test_every_column_and_every_word_is_there_however_narrow_the_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    table("Calls on the busiest of the next 30 days", COLUMNS, [ROW], numbers=("slots",), long=("schedule", "in words"))
    printed = capsys.readouterr().out
    said = printed.split()
    assert printed.startswith("Calls on the busiest of the next 30 days\n")
    for cell in (*COLUMNS, *ROW):
        for word in str(cell).split():
            assert word in said
    assert width < 80 or max(map(len, printed.splitlines())) <= width


def test_a_word_without_end_is_broken_where_there_is_no_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table("", ["story"], [("https://a.example/" + "x" * 100,)], long=("story",))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 200)), max_size=6), st.integers(-50, 500))
def test_room_is_shared_whole_and_nobody_gets_less_than_is_needed_nor_more_than_is_wanted(
    columns: list[tuple[int, int]], room: int
) -> None:
    least, wanted = [n for n, _ in columns], [n + more for n, more in columns]
    widths = shares(room, least, wanted)
    assert all(a <= width <= b for a, width, b in zip(least, widths, wanted, strict=True))
    assert sum(widths) == max(sum(least), min(sum(wanted), room))
