"""A configuration in a backup: no secret is left in it, wherever and however it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler_service.backups.configuration_text import secret_paths, without_secrets
from scheduler_service.redaction import MARK
from tests.backup_support import settings_in

if TYPE_CHECKING:
    from pathlib import Path

PATHS = frozenset({"alerts.urls", "providers.finnhub.api_keys"})


def shown(text: str, *known: str) -> str:
    return without_secrets(text, known, PATHS)


def test_what_is_secret_is_known_from_the_settings(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    sections = {name: getattr(settings, name) for name in ("alerts", "monitors", "database", "providers", "http")}
    paths = set(secret_paths(sections))
    assert {"alerts.urls", "monitors.health.ping_url", "database.url"} <= paths
    assert any(path.endswith(".api_keys") for path in paths)
    assert "http.token_file" not in paths


@pytest.mark.parametrize(
    ("text", "secrets", "stays"),
    [
        ("providers:\n  p: {api_keys: [pplx-0123456789], model: sonar}\n", ["pplx-0123456789"], ["model: sonar"]),
        ("  # finnhub: {api_keys: [old-key-of-ours], x: 1}\n", ["old-key-of-ours"], ["x: 1"]),
        ("a: 1\n#api_key: another-old-one\n", ["another-old-one"], ["a: 1"]),
        ('a: {urls: ["mailto://jane:hunter2@example.com"]}\n', ["hunter2"], ["example.com"]),
        ("feeds: {urls: ['https://e.com/x?symbol=A&apikey=sesame1']}\n", ["sesame1"], ["https://e.com/x?symbol=A"]),
        ("http: {token_file: token, port: 1}\n", [], ["token_file: token, port: 1"]),
        ("providers:\n  finnhub:\n    api_keys:\n      - first1\n      - second2\n", ["first1", "second2"], ["- "]),
        ("providers:\n  finnhub:\n    api_keys: [\n      first1,\n      second2]\n    x: 1\n", ["second2"], ["x: 1"]),
        ("providers:\n  finnhub:\n    api_keys: >-\n      folded\nx: 1\n", ["folded"], ["x: 1"]),
        ("#   api_keys:\n#     - first1\n\n#     - second2\n#   model: m\n", ["first1", "second2"], ["model: m"]),
        ("#   api_keys: [\n#     first1,\n#     second2]\n# other: m\n", ["first1", "second2"], ["other: m"]),
        ("# FINNHUB_API_KEY=abc123\n# export X_TOKEN = abc123\na: 1\n", ["abc123"], ["FINNHUB_API_KEY="]),
        ("alerts:\n  urls: [https://hooks.e.com/T0/B0/xyz]\n", ["/T0/B0/xyz"], ["urls:"]),
        ("alerts:\n  urls:\n    - https://a.e.com/xyz\n    # - https://b.e.com/old\n", ["xyz", "old"], ["//b.e.com/"]),
        (
            "a: 1  # it was https://hooks.e.com/T0/B0/xyz once\n",
            ["/T0"],
            ["a: 1  # it was https://hooks.e.com/", "once"],
        ),
        ("# the key was pplx-0a1b2c3d4e5f6a7b8c9d\nfiled: 0000320193-26-000006\n", ["pplx-"], ["0000320193-26-000006"]),
        (
            "providers: {feeds: {urls: ['https://example.com/{symbol}.rss']}}\n",
            [],
            ["https://example.com/{symbol}.rss"],
        ),
        ("alerts: {urls: [https://e.com/xyz]}\nbroken: [\n", ["xyz"], ["https://e.com/"]),
        ("b: &x 1\nalerts: {urls: [https://e.com/xyz]}\n", ["xyz"], []),
        ("password: 'a, b'\nsecret: \"c, d\" # e\n", ["a, b", ", b", ", d"], []),
        ("", [], []),
    ],
)
def test_no_secret_of_a_configuration_is_left_in_its_text(text: str, secrets: list[str], stays: list[str]) -> None:
    said = shown(text)
    assert [secret for secret in secrets if secret in said] == []
    assert [part for part in stays if part not in said] == []
    assert said.count("\n") == text.count("\n")


def test_what_is_secret_elsewhere_is_taken_out_here_too() -> None:
    assert shown("name: sesame\n", "sesame") == f"name: {MARK}\n"


def test_it_leaves_the_rest_as_it_is() -> None:
    text = "# Alerts go to people.\r\nservice: {name: stocks}\r\nwatchlist:\r\n  - AAPL\r\n  # - NVDA\r\n"
    assert shown(text) == text
