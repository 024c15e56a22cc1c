"""The portfolio's file, whatever lies in its place: nothing waits, nothing is read without bound."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import HOUR, SECOND
from scheduler_service.monitors.portfolio_file import PortfolioFile
from tests.monitor_support import in_place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = "symbol,quantity,average_price\nAAPL,10,175.50\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "portfolio.csv"


def _long_ago(path: Path) -> int:
    """The instant a while after it was written."""
    return path.stat().st_mtime_ns // 1_000 + HOUR


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
async def test_it_is_read_in_the_encodings_of_spreadsheets(path: Path, encoding: str) -> None:
    path.write_bytes(TEXT.encode(encoding))
    file = PortfolioFile(path, in_place)
    await file.renew(0)
    assert file.portfolio is not None
    assert file.portfolio.positions["AAPL"].average_price == Decimal("175.50")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1_000_000_000)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.mkdir(), "cannot be read: it is no regular file"),
        (os.mkfifo, "cannot be read: it is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "cannot be read: it is no regular file"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (lambda path: path.write_bytes(os.urandom(64) + b"\0"), "cannot be used: it is no text"),
        (lambda path: path.write_bytes(b""), "cannot be used: it has no header"),
        (_sparse, "cannot be used: it is larger than 10 MB"),
    ],
)
async def test_what_is_no_portfolio_is_said_and_the_last_good_one_holds(
    path: Path, make: Callable[[Any], object], said: str
) -> None:
    path.write_text(TEXT)
    file = PortfolioFile(path, in_place)
    await file.renew(0)
    path.unlink()
    make(path)
    await file.renew(HOUR)
    assert said in (file.problem or "")
    assert file.portfolio is not None
    path.unlink(missing_ok=True) if not path.is_dir() else path.rmdir()
    path.write_text(TEXT.replace("AAPL", "MSFT"))
    await file.renew(_long_ago(path))
    assert (file.problem, set(file.portfolio.positions)) == (None, {"MSFT"})


async def test_it_is_parsed_once_as_long_as_it_stays_as_it_is_good_or_bad(path: Path) -> None:
    parsed = []

    async def off_loop(function: Callable[..., Any], *args: Any) -> Any:
        parsed.append(function)
        return function(*args)

    file = PortfolioFile(path, off_loop)
    for text in (TEXT, "nothing\n"):
        path.write_text(text)
        for _ in range(3):
            await file.renew(_long_ago(path))
    assert len(parsed) == 2
    assert "names no symbol" in (file.problem or "")


async def test_a_file_that_somebody_is_writing_is_left_alone_for_a_moment(path: Path) -> None:
    path.write_text(TEXT)
    file = PortfolioFile(path, in_place)
    await file.renew(_long_ago(path))
    path.write_text("symbol,quantity,average_price\n")
    written = path.stat().st_mtime_ns // 1_000
    await file.renew(written + SECOND)
    assert file.portfolio is not None
    assert set(file.portfolio.positions) == {"AAPL"}
    await file.renew(written + 3 * SECOND)
    assert not file.portfolio.positions
