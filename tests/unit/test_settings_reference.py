"""docs/configuration.md: made from the types, complete, and up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from scheduler_service.cli.reference import page
from scheduler_service.clients.base import discover
from scheduler_service.settings.configuration import Configuration
from scheduler_service.settings.providers import ProviderOptions
from scheduler_service.settings.reference import Setting, purpose_of, settings_of, table
from scheduler_service.settings.section import LocalPath, Section
from scheduler_service.settings.units import Duration, Share, Size

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


class Inner(Section):
    """What is inside."""

    key: SecretStr | None = None
    """Opens it."""


class Whole(Section):
    """All kinds
    of things."""

    wait: Duration = Field(default=30_000_000, gt=0)
    """How long."""
    room: Size | None = None
    """How much."""
    part: Share = 0.2
    """Which | share."""
    file: LocalPath
    """Where."""
    inner: Inner = Inner()
    """Deeper."""
    names: tuple[str, ...] = ()


class Special(Whole):
    wait: Duration = 60_000_000


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"


def test_every_setting_has_a_meaning() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert [row for row in rows if re.search(r"\|\s*\|$", row)] == []


def test_every_section_and_provider_is_on_the_page() -> None:
    titles = set(re.findall(r"^###+ (.+)$", page(), re.MULTILINE))
    assert titles >= {*Configuration.model_fields, *(f"providers.{name}" for name in discover()), "providers.sandbox"}


def test_a_section_is_shown_with_what_can_be_written_what_holds_and_what_it_means() -> None:
    assert list(settings_of(Whole)) == [
        Setting("wait", "duration, above 0s", "`30s`", "How long."),
        Setting("room", "size, or null", "`null`", "How much."),
        Setting("part", "share", "`20%`", "Which | share."),
        Setting("file", "path", "required", "Where."),
        Setting("inner.key", "text (secret), or null", "`null`", "Opens it."),
        Setting("names", "list of texts", "`[]`", ""),
    ]
    assert purpose_of(Whole) == "All kinds of things."
    assert "| `part` | share | `20%` | Which \\| share. |" in table(settings_of(Whole))


def test_what_is_inherited_keeps_its_meaning() -> None:
    assert next(settings_of(Special)) == Setting("wait", "duration", "`1m`", "How long.")


@pytest.mark.parametrize("provider", sorted(discover()))
def test_a_provider_s_own_settings_are_explained_where_they_are_declared(provider: str) -> None:
    options = discover()[provider].Options
    assert issubclass(options, ProviderOptions)
    assert [setting.key for setting in settings_of(options) if not setting.meaning] == []
