from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_service.settings.keys import split_keys, wrong_key
from scheduler_service.settings.providers import KeyedOptions
from tests.unit.settings_support import load_text, problems_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scheduler_service.settings.loaded import Settings

LIVE = "watchlist: [A]\nproviders: {edgar: {user_agent: Jane Doe jane.doe@example.com}%s}\n"
EARNINGS = "domains: {earnings: {sources: [edgar, perplexity]}}\n"
OFF = (
    "perplexity is off: no key; put one into PERPLEXITY_API_KEY, or a file's path into PERPLEXITY_API_KEY_FILE "
    "or providers.perplexity.api_keys_file"
)


def text(perplexity: str = "") -> str:
    return LIVE % (f", perplexity: {{{perplexity}}}" if perplexity else "") + EARNINGS


def keys(loaded: Settings, provider: str = "perplexity") -> list[str]:
    options = loaded.providers[provider]
    assert isinstance(options, KeyedOptions)
    return [key.get_secret_value() for key in options.api_keys]


def warnings(folder: Path, configuration: str, environ: Mapping[str, str]) -> list[str]:
    return [warning.replace(f"{folder}/", "") for warning in load_text(folder, configuration, environ).warnings]


def test_keys_come_from_every_place_in_a_fixed_order_and_none_twice(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("# spares\n\n  pplx-two \r\npplx-three\n", encoding="utf-8-sig")
    (tmp_path / "k").chmod(0o600)
    (tmp_path / "f").write_text("pplx-five\n")
    (tmp_path / "f").chmod(0o600)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name, key in {
        "perplexity_api_key": "pplx-seven",
        "scheduler_perplexity_api_key": "pplx-eight",
        "finnhub_api_key": "other",
        "notperplexity_api_key": "other",
    }.items():
        (credentials / name).write_text(key)
    environ = {
        "PERPLEXITY_API_KEY": " pplx-four,pplx-two\n",
        "PERPLEXITY_API_KEY_FILE": "f",
        "CREDENTIALS_DIRECTORY": str(credentials),
    }
    loaded = load_text(tmp_path, text("api_keys: [pplx-one], api_keys_file: k"), environ)
    order = ["one", "two", "three", "four", "five", "seven", "eight"]
    assert keys(loaded) == [f"pplx-{number}" for number in order]
    assert (loaded.warnings, loaded.off) == ((), {})
    assert "pplx" not in repr(loaded)


def test_the_setting_s_own_variable_replaces_what_the_file_says(tmp_path: Path) -> None:
    environ = {"SCHEDULER_PROVIDERS__PERPLEXITY__API_KEYS": '["pplx-b", "pplx-c"]'}
    assert keys(load_text(tmp_path, text("api_keys: [pplx-a]"), environ)) == ["pplx-b", "pplx-c"]
    environ = {"SCHEDULER_PROVIDERS__PERPLEXITY__API_KEYS": "pplx-d"}
    assert keys(load_text(tmp_path, text(), environ)) == ["pplx-d"]


def test_without_a_key_the_provider_is_off_and_that_is_said_once(tmp_path: Path) -> None:
    both = text() + "# perplexity is asked for two domains\n"
    both = both.replace("domains: {", "domains: {fundamentals: {sources: [edgar, perplexity]}, ")
    loaded = load_text(tmp_path, both)
    assert loaded.off == {"perplexity": OFF}
    assert loaded.used_providers == {"edgar"}
    assert list(loaded.warnings) == [f"{tmp_path}/c.yaml:2:12 providers.perplexity: {OFF}"]
    assert not loaded.sandbox


def test_a_domain_whose_every_source_is_off_is_told(tmp_path: Path) -> None:
    alone = LIVE % "" + "domains: {news: {sources: [perplexity, finnhub]}}\n"
    assert warnings(tmp_path, alone, {})[2:] == [
        "c.yaml:3:17 domains.news: nothing is asked for news: every source of it is off"
    ]


@pytest.mark.parametrize(
    "configuration",
    [
        LIVE % "" + "domains: {earnings: {sources: [edgar]}}\n",
        LIVE % "" + "domains: {earnings: {sources: [edgar, {use: perplexity, enabled: false}]}}\n",
        "watchlist: [A]\nproviders: {sandbox: {enabled: true}, perplexity: {api_keys: [pplx-a]}}\n" + EARNINGS,
    ],
)
def test_a_key_that_nobody_needs_is_not_read(tmp_path: Path, configuration: str) -> None:
    environ = {"PERPLEXITY_API_KEY": '"broken', "PERPLEXITY_API_KEY_FILE": "nowhere", "PPLX_API_KEY": "pplx-b"}
    loaded = load_text(tmp_path, configuration, environ)
    assert (keys(loaded), loaded.off, loaded.warnings) == ([], {}, ())


def test_where_the_sandbox_answers_no_key_is_needed(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, f"watchlist: [A]\nproviders: {{sandbox: {{enabled: true}}}}\n{EARNINGS}")
    assert loaded.used_providers == {"edgar", "perplexity"}
    beside = load_text(
        tmp_path,
        "watchlist: [A]\nproviders: {sandbox: {enabled: true}, perplexity: {base_url: https://gateway.example}}\n"
        + EARNINGS,
    )
    assert list(beside.off) == ["perplexity"]


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ('"pplx-SEKRIT"', "the key stands in quotes; write it without them"),
        ("Bearer pplx-SEKRIT", "the key begins with a word of the HTTP header; write the key alone"),
        ("PERPLEXITY_API_KEY=pplx-SEKRIT", "this is a line NAME=KEY; write the key alone"),
        ("pplx-SEKRIT pplx-SEKRIT2", "the key has a blank in its middle; write each key on a line of its own"),
        ("pplx-SEKRIT\x1b[0m", "the key has a character that no key has; copy it anew"),
        ("pplx-SEKRITé", "the key has a character that no key has; copy it anew"),
        ("<SEKRIT>", "this is a placeholder, not a key; put the key there, or nothing"),
        ("pplx-...", "this is a placeholder, not a key; put the key there, or nothing"),
        ("abc", "this is too short or too long for a key; copy it anew"),
        ("SEKRIT" * 200, "this is too short or too long for a key; copy it anew"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(tmp_path: Path, key: str, wrong: str) -> None:
    assert problems_of(tmp_path, text(), {"PERPLEXITY_API_KEY": key}) == [
        f"environment PERPLEXITY_API_KEY: {wrong}",
    ]
    (tmp_path / "k").write_text(f"pplx-good\n{key}\n", encoding="utf-8")
    (problem,) = problems_of(tmp_path, text("api_keys_file: k"))
    assert problem.startswith("c.yaml:2:")
    assert wrong.replace(";", " (key 2 there);") in problem
    assert "SEKRIT" not in problem


@pytest.mark.parametrize("empty", ["", "  \n", "# nothing\n", ","])
def test_an_empty_variable_or_file_counts_as_not_set(tmp_path: Path, empty: str) -> None:
    (tmp_path / "k").write_text(empty)
    (tmp_path / "k").chmod(0o600)
    said = warnings(tmp_path, text("api_keys_file: k"), {"PERPLEXITY_API_KEY": empty})
    assert [line.partition(" ")[2] for line in said] == [
        "providers.perplexity.api_keys_file: it holds no key, so it counts as not set",
        "PERPLEXITY_API_KEY: it holds no key, so it counts as not set",
        f"providers.perplexity: {OFF}",
    ]


@pytest.mark.parametrize("variable", ["PPLX_API_KEY", "PERPLEXITY_KEY", "PERPLEXITYAI_API_KEY", "MY_PPLX_TOKEN"])
def test_a_key_in_a_variable_nobody_reads_is_told(tmp_path: Path, variable: str) -> None:
    told = f"environment {variable}: this variable is not read; the key of perplexity belongs into PERPLEXITY_API_KEY"
    assert told in warnings(tmp_path, text(), {variable: "SEKRIT"})
    assert warnings(tmp_path, text(), {variable: "SEKRIT", "PERPLEXITY_API_KEY": "pplx-a"}) == []


def test_a_key_is_known_by_its_beginning_whatever_the_variable_is_called(tmp_path: Path) -> None:
    said = warnings(tmp_path, text(), {"LLM": "pplx-SEKRIT", "HOME": "/root", "OTHER_KEY": "x"})
    assert said[1:] == [
        "environment LLM: this variable is not read; the key of perplexity belongs into PERPLEXITY_API_KEY"
    ]


@pytest.mark.parametrize("variable", ["SCHEDULER_PERPLEXITY_API_KEY", "SCHEDULER_PPLX_KEY"])
def test_a_settings_variable_that_is_meant_for_a_key_is_refused_in_words(tmp_path: Path, variable: str) -> None:
    assert problems_of(tmp_path, text(), {variable: "SEKRIT"}) == [
        f"environment {variable}: this variable is not read; put the key of perplexity into PERPLEXITY_API_KEY"
    ]


def test_the_singular_is_told_its_plural(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, text(), {"SCHEDULER_PROVIDERS__PERPLEXITY__API_KEY": "SEKRIT"})
    assert problem.endswith("did you mean SCHEDULER_PROVIDERS__PERPLEXITY__API_KEYS?")
    assert "SEKRIT" not in problem


def test_somebody_else_s_key_is_doubted(tmp_path: Path) -> None:
    news = LIVE % "" + "domains: {news: {sources: [perplexity, finnhub]}}\n"
    assert warnings(tmp_path, news, {"FINNHUB_API_KEY": "pplx-a", "PERPLEXITY_API_KEY": "abcd"}) == [
        "environment PERPLEXITY_API_KEY: this does not look like a key of perplexity: those begin with pplx-",
        "environment FINNHUB_API_KEY: this looks like a key of perplexity, not of finnhub",
    ]
    gateway = text("base_url: https://gateway.example")
    assert warnings(tmp_path, gateway, {"PERPLEXITY_API_KEY": "abcd"}) == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_in_a_configuration_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "c.yaml"
    assert keys(load_text(tmp_path, text("api_keys: [pplx-SEKRIT]"))) == ["pplx-SEKRIT"]
    path.chmod(mode)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(path), "chmod", lambda *_: None)
        (problem,) = problems_of(tmp_path, text("api_keys: [pplx-SEKRIT]"))
        assert problem.endswith(
            "providers.perplexity.api_keys: a key stands in a file that others than its owner can read; "
            "chmod 600 c.yaml, or put the key into PERPLEXITY_API_KEY"
        )
        assert load_text(tmp_path, text("api_keys: []"), {"PERPLEXITY_API_KEY": "pplx-a"})


def test_a_key_file_that_everyone_can_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("pplx-a\n")
    for mode, told in ((0o644, True), (0o640, False)):
        (tmp_path / "k").chmod(mode)
        said = warnings(tmp_path, text(), {"PERPLEXITY_API_KEY_FILE": str(tmp_path / "k")})
        expected = "environment PERPLEXITY_API_KEY_FILE: every user of this machine can read k; chmod 600 k"
        assert said == ([expected] if told else [])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b"\xff\xfe\xfa"), "it is not UTF-8"),
    ],
)
def test_a_key_file_that_cannot_be_read_is_a_problem(tmp_path: Path, make: object, why: str) -> None:
    assert callable(make)
    make(tmp_path / "k")
    (of_setting,) = problems_of(tmp_path, text("api_keys_file: k"))
    assert of_setting.partition("providers.")[2] == (
        f"perplexity.api_keys_file: the key cannot be read from k: {why}; name a file that holds the key"
    )
    (of_variable,) = problems_of(tmp_path, text(), {"PERPLEXITY_API_KEY_FILE": "k"})
    assert of_variable.startswith("environment PERPLEXITY_API_KEY_FILE: the key cannot be read from k: ")


def test_a_huge_key_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, text(), {"PERPLEXITY_API_KEY_FILE": "/dev/zero"})
    assert "/dev/zero is larger than 64 KB" in problem


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("http://gateway.example", False),
        ("http://10.0.0.7:4000", False),
        ("https://gateway.example", True),
        ("http://127.0.0.1:4000", True),
        ("http://localhost:4000/v1", True),
    ],
)
def test_a_key_never_goes_to_another_machine_unencrypted(tmp_path: Path, address: str, fine: bool) -> None:
    configuration = text(f'base_url: "{address}"')
    assert load_text(tmp_path, configuration).off
    if fine:
        assert keys(load_text(tmp_path, configuration, {"PERPLEXITY_API_KEY": "pplx-a"})) == ["pplx-a"]
    else:
        (problem,) = problems_of(tmp_path, configuration, {"PERPLEXITY_API_KEY": "pplx-a"})
        assert problem.endswith(
            "providers.perplexity.base_url: the key of perplexity would go to another machine unencrypted; "
            "write an address that begins with https://"
        )


def test_credentials_that_are_gone_are_no_problem(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, text(), {"CREDENTIALS_DIRECTORY": str(tmp_path / "gone")})
    assert list(loaded.off) == ["perplexity"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text())
def test_any_text_gives_keys_that_can_stand_in_a_header_or_are_refused(text: str) -> None:
    for key in split_keys(text):
        assert wrong_key(key) or (key.isascii() and key.isprintable() and " " not in key)
