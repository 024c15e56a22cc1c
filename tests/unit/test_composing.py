"""Which exchanges a configuration needs, which are told of, and which nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.composing import exchanges_needed, exchanges_told, unknown_exchanges
from tests.unit.settings_support import load_text

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
watchlist:
  - {symbol: AAPL, exchange: NASDAQ}
  - {symbol: SONY, exchange: XTKS}
  - {symbol: INFY, exchange: XNSE}
  - {symbol: TCS, exchange: XNSE}
  - MSFT
providers: {sandbox: {enabled: true}}
monitors: {market: {exchanges: [XLON]}}
domains: {news: {sources: [feeds]}}
"""


def test_every_exchange_of_the_watchlist_is_told_of_and_those_that_are_named_beside_it(tmp_path: Path) -> None:
    settings = load_text(tmp_path, CONFIG)
    assert exchanges_told(settings) == {"XNYS", "XTKS", "XLON"}
    assert exchanges_needed(settings) == set(), "no slot and no age goes by them"


def test_what_is_no_exchange_is_said_once_for_all_its_stocks_and_stops_nothing(tmp_path: Path) -> None:
    [said] = unknown_exchanges(load_text(tmp_path, CONFIG))
    assert said.startswith(
        "watchlist: the exchange of INFY, TCS is taken to be XNYS, for 'XNSE' is not a known exchange"
    )
