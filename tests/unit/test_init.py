"""``init``: what it writes loads, is what the examples show, and replaces nothing."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from scheduler_service.cli.commands import cli
from scheduler_service.cli.configuration import read, source_providers
from scheduler_service.cli.init import FIRST_USD, USD_A_DAY, NewFile, new_files, write_all
from scheduler_service.clock import from_iso
from scheduler_service.errors import ConfigurationError
from scheduler_service.estimate import estimate, usual_prices
from scheduler_service.first_fetch import plan
from scheduler_service.settings.load import Found

CHECKOUT = Path(__file__).resolve().parents[2]
JANE = "Jane Doe jane.doe@example.com"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["init", *arguments])


def test_what_a_checkout_keeps_of_its_own_is_nothing_to_commit() -> None:
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text().splitlines()
    kept = [f"/config/{name}" for name in ("scheduler.yaml", "watchlist.csv", "scheduler.env", "data/")]
    restored = ["/data.before-restore-*/", "/config/data.before-restore-*/"]
    assert {*kept, *restored, "/data/"} <= set(ignored)


def test_the_examples_are_what_init_writes() -> None:
    written = {file.name: file.text for file in new_files()}
    assert (CHECKOUT / "config/live.example.yaml").read_text(encoding="utf-8") == written["scheduler.yaml"]
    assert (CHECKOUT / "config/watchlist.example.csv").read_text(encoding="utf-8") == written["watchlist.csv"]


def test_it_works_without_a_key_as_soon_as_edgar_knows_who_asks(tmp_path: Path) -> None:
    done = run(str(tmp_path / "a" / "b"), "--user-agent", JANE, "--symbols", "nvda, TRUE,0700,NVDA")
    assert done.exit_code == 0, done.output
    settings = read(Found((tmp_path / "a/b/scheduler.yaml",), ""))
    assert [symbol.symbol for symbol in settings.watchlist] == ["NVDA", "TRUE", "0700"]
    assert settings.watchlist[0].name == "NVIDIA Corporation"
    assert settings.used_providers == {"edgar", "feeds"}
    assert list(settings.off) == ["perplexity"]
    assert settings.warnings == (
        f"{settings.line_of('providers.perplexity')} providers.perplexity: {settings.off['perplexity']}",
    )
    assert getattr(settings.providers["edgar"], "user_agent", None) == JANE
    assert settings.service.data_dir == tmp_path / "a" / "b" / "data"
    assert not settings.sandbox


def test_without_a_user_agent_it_says_where_to_fill_it_in_and_so_does_check(tmp_path: Path) -> None:
    done = run(str(tmp_path / "live"))
    config = tmp_path / "live/scheduler.yaml"
    number = (
        config.read_text(encoding="utf-8")
        .splitlines()
        .index('    user_agent: null              # FILL IN, such as "Jane Doe jane.doe@example.com"')
    )
    assert f"fill in user_agent at {config}:{number + 1}." in done.output
    checked = CliRunner().invoke(cli, ["-c", str(config), "check"])
    assert checked.exit_code == 2
    assert f"{config}:{number + 1}:17 providers.edgar.user_agent: edgar must be told who asks" in checked.output


def test_a_user_agent_without_an_address_is_taken_and_told_of(tmp_path: Path) -> None:
    said = "EDGAR wants a name and an e-mail address, and may refuse without"
    assert said in run(str(tmp_path / "nobody"), "--user-agent", "nobody").output
    assert said not in run(str(tmp_path / "jane"), "--user-agent", JANE).output


def test_the_commands_it_names_can_be_typed_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spaced = run("my stocks", "--user-agent", JANE).output.splitlines()
    assert spaced[-3:] == [
        "  set -a; . 'my stocks/scheduler.env'; set +a",
        "  scheduler-service -c 'my stocks/scheduler.yaml' check",
        "  scheduler-service -c 'my stocks/scheduler.yaml' run",
    ]
    found_by_itself = run("config", "--user-agent", JANE).output.splitlines()
    assert found_by_itself[-2:] == ["  scheduler-service check", "  scheduler-service run"]
    assert run(".", "--user-agent", JANE).output.splitlines()[-3] == "  set -a; . ./scheduler.env; set +a"


def test_it_asks_for_the_names_it_does_not_know(tmp_path: Path) -> None:
    asks = "how the companies are called"
    said = run(str(tmp_path / "some"), "--symbols", "AAPL,ZZZ,YYY").output
    assert f"Write into {tmp_path}/some/watchlist.csv {asks}: ZZZ, YYY. Stories are recognised by that." in said
    assert asks not in run(str(tmp_path / "known"), "--symbols", "AAPL,NVDA").output


def test_secrets_are_for_their_owner_alone_and_out_of_version_control(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        run(str(tmp_path))
    finally:
        os.umask(old)
    assert (tmp_path / "scheduler.env").stat().st_mode & 0o777 == 0o600
    assert "/scheduler.env\n" in (tmp_path / ".gitignore").read_text()
    assert all(line.startswith("#") or not line for line in (tmp_path / "scheduler.env").read_text().splitlines())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".gitignore",
        "scheduler.env",
        "scheduler.yaml",
        "watchlist.csv",
    ]


@pytest.mark.parametrize("there", ["scheduler.yaml", "watchlist.csv", "scheduler.env"])
def test_nothing_is_ever_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    done = run(str(tmp_path))
    assert done.exit_code == 2
    assert f"there already: {tmp_path / there}; nothing was written" in done.output
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "scheduler.env").symlink_to(tmp_path / "elsewhere")
    assert run(str(tmp_path)).exit_code == 2
    assert not (tmp_path / "elsewhere").exists()


def test_a_gitignore_of_the_user_stays(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    assert run(str(tmp_path)).exit_code == 0
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_it_writes_everything_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "second").write_text("came in between")
    with pytest.raises(FileExistsError):
        write_all(tmp_path, [NewFile("first", "1"), NewFile("second", "2")])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("second", "came in between")]


def test_it_writes_on_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_all(tmp_path, [NewFile("first", "1")])
    with pytest.raises(FileExistsError):
        write_all(tmp_path, [NewFile("first", "2")])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("first", "1")]


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(str(tmp_path / "file"))
    assert done.exit_code == 2
    assert "is a file" in done.output


@pytest.mark.parametrize("agent", ["", " ", "Jane\nDoe", "Jané jane@example.com", "J" * 201])
def test_a_user_agent_that_no_header_can_carry_is_refused(tmp_path: Path, agent: str) -> None:
    done = run(str(tmp_path), "--user-agent", agent)
    assert done.exit_code == 2
    assert "--user-agent: write your name and e-mail address" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("agent", ['Jane "JD" Doe jane@example.com', "a: b # c @ {d}", "\\ backslash @"])
def test_a_user_agent_is_read_back_as_it_was_given(tmp_path: Path, agent: str) -> None:
    assert run(str(tmp_path), "--user-agent", agent).exit_code == 0
    settings = read(Found((tmp_path / "scheduler.yaml",), ""))
    assert getattr(settings.providers["edgar"], "user_agent", None) == agent


@pytest.mark.parametrize(("symbols", "wrong"), [(",", "name at least one"), ("A B", "without spaces")])
def test_symbols_that_are_none_are_refused(symbols: str, wrong: str) -> None:
    with pytest.raises(click.UsageError, match=wrong):
        new_files(None, symbols)


def test_what_it_says_of_costs_is_what_check_will_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-one")
    run(str(tmp_path), "--user-agent", JANE)
    settings = read(Found((tmp_path / "scheduler.yaml",), ""))
    stocks = len(settings.watchlist)
    counted = {one.provider: one for one in estimate(settings, source_providers(), from_iso("2026-11-23T14:30:00Z"))}
    assert counted["perplexity"].usd_in_28_days / 28 == pytest.approx(stocks * USD_A_DAY, rel=0.05)
    lacking = {(domain, source): stocks for domain, of in source_providers().items() for source in of}
    first = {one.provider: one for one in plan(settings, source_providers(), lacking, usual_prices(settings))}
    assert first["perplexity"].usd == pytest.approx(stocks * FIRST_USD)
    assert settings.providers["perplexity"].budget.usd_per_day == 1.0
    text = " ".join((tmp_path / "scheduler.yaml").read_text(encoding="utf-8").replace("#", "").split())
    assert re.search(rf"for {stocks} stocks at most about \$\d+\.\d\d a day, and \$\d+\.\d\d for the first fetch", text)


@pytest.mark.parametrize("symbols", ["AAPL,NVDA", "MSFT"])
def test_the_feeds_it_shows_in_comments_are_fit_to_be_switched_on(tmp_path: Path, symbols: str) -> None:
    run(str(tmp_path), "--user-agent", JANE, "--symbols", symbols)
    path = tmp_path / "scheduler.yaml"
    before, _, rest = path.read_text(encoding="utf-8").partition("terms of use.\n")
    section, _, after = rest.partition("\n\n")
    commented = "    # " if symbols != "MSFT" else "  # "
    on = "\n".join(re.sub(f"^{commented}", commented[:-2], line) for line in section.splitlines())
    switched_on = after.replace("# - {use: feeds", "- {use: feeds")
    path.write_text(f"{before}terms of use.\n{on}\n\n{switched_on}", encoding="utf-8")
    settings = read(Found((path,), ""))
    assert "feeds" in settings.used_providers
    assert {setting.partition("[")[0] for setting in settings.providers["feeds"].addresses()} == {
        "companies.AAPL",
        "companies.NVDA",
        "urls",
    }


def test_the_own_feeds_of_the_companies_on_the_watchlist_are_asked(tmp_path: Path) -> None:
    run(str(tmp_path), "--user-agent", JANE, "--symbols", "NVDA,MSFT")
    settings = read(Found((tmp_path / "scheduler.yaml",), ""))
    assert "feeds" in settings.used_providers
    assert list(settings.providers["feeds"].addresses()) == ["companies.NVDA[0]"]


def test_no_line_is_left_to_replace() -> None:
    assert all("<<" not in file.text and ">>" not in file.text for file in new_files(JANE, "AAPL"))


def test_a_live_configuration_without_stocks_is_still_valid(tmp_path: Path) -> None:
    run(str(tmp_path), "--user-agent", JANE)
    (tmp_path / "watchlist.csv").unlink()
    with pytest.raises(ConfigurationError, match="the file does not exist"):
        read(Found((tmp_path / "scheduler.yaml",), ""))
    (tmp_path / "watchlist.csv").write_text("symbol\n")
    assert read(Found((tmp_path / "scheduler.yaml",), "")).watchlist == ()
