"""A quarter of market time with twenty stocks and a portfolio: openings and closings, a season of results, breaches,
outages, kills, and a restore in the middle. What came of it is judged from outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler_service.simulation import alone
from tests.integration.test_simulation import settings_of
from tests.market_support import new_york
from tests.quarter_oracles import ORACLES
from tests.quarter_support import CONFIGURATION, PLAN, PORTFOLIO, live

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(900)
def test_every_event_of_a_quarter_is_told_once_whatever_happens(tmp_path: Path) -> None:
    (tmp_path / "portfolio.csv").write_text(PORTFOLIO)
    settings = settings_of(tmp_path, CONFIGURATION)
    quarter = live(alone(settings, tmp_path / "simulated" / "data"), PLAN, new_york())
    problems = [f"{oracle.__name__}: {problem}" for oracle in ORACLES for problem in oracle(quarter)]
    assert not problems, "\n".join(problems)
    assert not (tmp_path / "data").exists()
