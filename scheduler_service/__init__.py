"""A service that keeps a stock watchlist's news, earnings and fundamentals fresh."""

from __future__ import annotations

__version__ = "0.1.0"
