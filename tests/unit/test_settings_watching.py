"""What is odd, and no mistake: files that are not there yet, and what is told to others in the open."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler_service.cli.configuration import read
from scheduler_service.errors import ConfigurationError
from scheduler_service.settings.load import Found
from tests.unit.settings_support import load_files, load_text, problems_of

QUIET = "watchlist: [A]\n"


def warnings_of(folder: Path, text: str) -> list[str]:
    return [warning.replace(f"{folder}/", "") for warning in load_text(folder, QUIET + text).warnings]


def test_a_portfolio_that_is_not_there_is_told_until_it_is(tmp_path: Path) -> None:
    text = "monitors: {risk: {portfolio: p.csv}}\n"
    assert warnings_of(tmp_path, text) == [
        "c.yaml:2:30 monitors.risk.portfolio: there is no file p.csv, so no risk is judged until there is one"
    ]
    (tmp_path / "p.csv").write_text("symbol,quantity,average_price\n")
    assert warnings_of(tmp_path, text) == []


def test_a_backup_directory_without_its_parent_is_told(tmp_path: Path) -> None:
    assert warnings_of(tmp_path, "backup: {directory: disk/b}\n") == [
        "c.yaml:2:21 backup.directory: there is no folder disk, so no backup can be made; mount or make it"
    ]
    (tmp_path / "disk").mkdir()
    assert warnings_of(tmp_path, "backup: {directory: disk/b}\n") == []


def test_backups_of_no_day_and_no_week_are_told(tmp_path: Path) -> None:
    (said,) = warnings_of(tmp_path, "backup: {keep: {daily: 0, weekly: 0}}\n")
    assert said == "c.yaml:2:16 backup.keep: of no day and of no week: only backups of the last 24 hours stay"
    assert warnings_of(tmp_path, "backup: {keep: {daily: 0}}\n") == []


@pytest.mark.parametrize(
    "trigger", ["{every: 10m}", "{cron: '*/10 * * * *'}", "{cron: '0 2 * * *'}", "{at: '2027-01-04T09:00:00Z'}"]
)
def test_backups_may_be_ten_minutes_apart(tmp_path: Path, trigger: str) -> None:
    assert warnings_of(tmp_path, f"backup: {{trigger: {trigger}}}\nmonitors: {{health: {{every: 1s}}}}\n") == []


def test_a_trigger_of_two_kinds_that_several_files_make_together_names_each(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(QUIET + "backup: {trigger: {every: 1h}}\n")
    second.write_text("backup:\n  trigger: {cron: '0 2 * * *'}\n")
    with pytest.raises(ConfigurationError) as refused:
        load_files(first, second, cwd=tmp_path)
    said = str(refused.value).replace(f"{tmp_path}/", "")
    assert "exactly one of every, cron, market and at is needed, not 2" in said
    assert "(mappings of several files merge: every is of a.yaml:2:27, cron is of b.yaml:2:19); a trigger is" in said
    first.write_text(QUIET + "backup: {trigger: {every: 1h, cron: '0 2 * * *'}}\n")
    second.write_text("{}")
    with pytest.raises(ConfigurationError) as refused:
        load_files(first, second, cwd=tmp_path)
    assert "mappings" not in str(refused.value)


def test_data_cannot_lie_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    (problem,) = problems_of(tmp_path, QUIET + "service: {data_dir: f/data}\n")
    assert problem == "c.yaml:2:21 service.data_dir: f is no folder; give the path of a folder"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('alerts: {urls: ["https://h.test/x", "http://h.test/SEKRIT"]}', "alerts.urls[1]"),
        ('monitors: {health: {ping_url: "http://h.test/SEKRIT"}}', "monitors.health.ping_url"),
    ],
)
def test_what_is_told_to_another_machine_unencrypted_is_warned_of(tmp_path: Path, text: str, path: str) -> None:
    (said,) = warnings_of(tmp_path, text)
    assert f" {path}: http:// sends this to another machine unencrypted" in said
    assert "SEKRIT" not in said
    assert warnings_of(tmp_path, text.replace("http://h.test", "http://127.0.0.1:1")) == []


@pytest.mark.parametrize("text", ["servce:", "servce: null", "'servce':", "servce: ~"])
def test_an_unknown_section_is_a_mistake_also_where_it_is_empty(tmp_path: Path, text: str) -> None:
    (problem,) = problems_of(tmp_path, QUIET + text)
    assert problem == "c.yaml:2:1 servce: there is no setting 'servce'; did you mean service?"
    assert warnings_of(tmp_path, "service:") == []


def told_by_the_program(folder: Path, text: str) -> list[str]:
    """With the providers that there are."""
    path = folder / "c.yaml"
    path.write_text(QUIET + text)
    path.chmod(0o600)
    return [warning.replace(f"{folder}/", "") for warning in read(Found((path,), ""), {}).warnings]


NEWS = "domains: {news: {sources: [feeds]}}\nproviders: {sandbox: {enabled: true}, feeds: "


@pytest.mark.parametrize(
    ("feeds", "hosts"),
    [
        (
            '{urls: ["https://b.test/{symbol}"], companies: {A: ["https://a.test", "http://127.0.0.1:1"]}}',
            "a.test, b.test",
        ),
        ('{companies: {A: ["https://a.test"]}}', "a.test"),
        ('{urls: ["http://127.0.0.1:1/{symbol}"]}', None),
        ("{}", None),
    ],
)
def test_whoever_is_asked_for_real_beside_the_sandbox_is_named(tmp_path: Path, feeds: str, hosts: str | None) -> None:
    said = told_by_the_program(tmp_path, f"{NEWS}{feeds}}}\n")
    said = [sentence for sentence in said if "asked although the sandbox" in sentence]
    assert len(said) == (0 if hosts is None else 1)
    for sentence in said:
        assert sentence.startswith("c.yaml:3:")
        assert sentence.endswith(
            "asked although the sandbox is enabled, for an address of feeds is written: "
            f"{hosts}; leave it out, and the sandbox answers"
        )


def test_no_provider_asks_another_machine_silently_beside_the_sandbox(tmp_path: Path) -> None:
    text = (
        "domains: {fundamentals: {sources: [edgar, perplexity]}, quotes: {sources: [finnhub]}}\n"
        'providers: {sandbox: {enabled: true}, edgar: {base_url: "http://127.0.0.1:1", user_agent: a@b.test}, '
        "finnhub: {base_url: https://f.test, api_keys: [abcdefgh12345678]}, "
        "perplexity: {base_url: https://p.test, api_keys: [pplx-0123456789]}}\n"
    )
    said = [line for line in told_by_the_program(tmp_path, text) if "although the sandbox is enabled" in line]
    assert [line.rpartition("written: ")[2].partition(";")[0] for line in said] == ["www.sec.gov", "f.test", "p.test"]
