"""What the settings are loaded with in tests: providers and sources of a small imagined program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from scheduler_service.errors import ConfigurationError
from scheduler_service.settings.load import load
from scheduler_service.settings.providers import KeyedOptions, ProviderOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.settings.loaded import Settings


class EdgarOptions(ProviderOptions):
    base_url: str = "https://data.sec.gov"
    www_base_url: str = "https://www.sec.gov"
    user_agent: str | None = None


class FeedOptions(ProviderOptions):
    urls: tuple[str, ...] = ()


class PerplexityOptions(KeyedOptions):
    key_prefix: ClassVar[str] = "pplx-"
    nicknames: ClassVar[tuple[str, ...]] = ("PPLX",)
    knows_stocks_by_name: ClassVar[bool] = True
    base_url: str = "https://api.perplexity.ai"
    api: str = "agent"
    model: str = "perplexity/sonar"


class FinnhubOptions(KeyedOptions):
    base_url: str = "https://finnhub.io"


PROVIDERS: dict[str, type[ProviderOptions]] = {
    "edgar": EdgarOptions,
    "feeds": FeedOptions,
    "perplexity": PerplexityOptions,
    "finnhub": FinnhubOptions,
}
SOURCES = {
    "news": {"feeds": "feeds", "edgar_filings": "edgar", "perplexity": "perplexity", "finnhub": "finnhub"},
    "earnings": {"edgar": "edgar", "perplexity": "perplexity"},
    "fundamentals": {"edgar": "edgar", "perplexity": "perplexity"},
}
SANDBOX = "providers: {sandbox: {enabled: true}}\n"
NEWS = (
    SANDBOX
    + "domains: {news: {sources: [{use: feeds, fresh_for: 20m}]}}\nwatchlist: [AAPL, {symbol: NVDA, tags: [chips]}]\n"
)
"""Three lines that are right; what is tested stands on the fourth."""


def load_files(*paths: Path, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
    return load(paths, environ or {}, providers=PROVIDERS, sources=SOURCES, cwd=cwd)


def load_text(folder: Path, text: str | bytes, environ: Mapping[str, str] | None = None) -> Settings:
    path = folder / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return load_files(path, environ=environ, cwd=folder)


def problems_of(folder: Path, text: str | bytes, environ: Mapping[str, str] | None = None) -> list[str]:
    """Every problem, one text each, with the folder's name cut away."""
    with pytest.raises(ConfigurationError) as caught:
        load_text(folder, text, environ)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]
