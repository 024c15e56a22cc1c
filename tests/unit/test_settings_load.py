from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scheduler_service.cli.configuration import source_providers
from scheduler_service.clients.base import discover as discover_clients
from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND
from scheduler_service.errors import ConfigurationError
from scheduler_service.models import Symbol
from scheduler_service.settings.load import SANDBOX_CONFIG, find_config, find_data_dir, load
from scheduler_service.settings.loaded import Settings
from scheduler_service.settings.model import Kept, Tagged
from scheduler_service.triggers import EveryTrigger, exchanges_of
from tests.unit.settings_support import PROVIDERS, SANDBOX, SOURCES, load_files, load_text

CHECKOUT = Path(__file__).resolve().parents[2]
DOMAINS = "domains: {news: {sources: [feeds]}}\n"
WHOLE = """\
service:   {name: stocks, timezone: America/New_York, data_dir: ./data, drain_timeout: 25s}
logging:   {level: INFO, format: text, file: {path: service.log, rotation: 10MB, retention: 7d}}
http:      {host: 127.0.0.1, port: 8321, token_file: null}
database:  {url: null}
executor:  {kind: local, concurrency: 32, slow_lane: 2}
retention: {history: 90d, raw: 30d, raw_size: 2GB, news: {age: 60d, items: 100}}
watchlist:
  - AAPL
  - {symbol: NVDA, name: NVIDIA, exchange: XNAS, tags: [chips], priority: high, aliases: {edgar: NVDA}}
providers:
  sandbox:    {enabled: true, latency: 20ms}
  perplexity: {api: agent, base_url: https://api.perplexity.ai, model: perplexity/sonar, api_keys: [], concurrency: 1,
               requests_per_minute: 50, timeout: 90s,
               budget: {usd_per_day: 1.00, calls_per_day: null, usd_per_month: null, reserve: 20%}}
  edgar:      {base_url: https://data.sec.gov, www_base_url: https://www.sec.gov, user_agent: me me@example.com,
               requests_per_second: 5}
  feeds:      {urls: ["https://example.com/{symbol}.rss"], requests_per_minute: 60}
domains:
  news:         {sources: [{use: feeds, fresh_for: 20m}, {use: edgar_filings, fresh_for: 20m},
                           {use: perplexity, fresh_for: 12h, enabled: false}]}
  earnings:     {sources: [{use: edgar, fresh_for: 20h}, {use: perplexity, fresh_for: 7d, when: missing}]}
  fundamentals: {fresh_for: 30h, sources: [edgar, perplexity]}
schedules:
  - id: news-intraday
    domain: news
    symbols: all
    trigger: {every: 30m}
    during: null
    catch_up: latest
    catch_up_window: 24h
    overlap: skip
    spread: 5m
    priority: normal
    enabled: true
  - {id: one, domain: news, symbols: [aapl], trigger: {at: 2027-01-04T09:00:00-05:00}, catch_up: none}
  - {id: chips, domain: earnings, symbols: {tags: [chips]}, trigger: {cron: "0 7 * * mon-fri", timezone: Europe/Berlin}}
monitors:  {health: {every: 60s, disk_floor: 500MB, ping_url: null}, market: {exchanges: [XNYS]},
            risk: {portfolio: portfolio.csv, stop_loss_percent: 5, max_position_percent: 15}}
backup:    {trigger: {cron: "0 2 * * *"}, keep: {daily: 7, weekly: 4}, directory: null}
alerts:    {urls: [], cool_down: 1h, quiet_hours: null}
"""


def test_every_documented_key_loads(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, WHOLE)
    assert loaded.service.drain_timeout == 25 * SECOND
    assert loaded.service.data_dir == tmp_path / "data"
    assert loaded.logging.file is not None
    assert loaded.logging.file.path == tmp_path / "service.log"
    assert loaded.retention.of("news") == Kept.model_validate({"age": "60d", "items": 100})
    assert loaded.retention.of("earnings") == Kept()
    assert loaded.watchlist[1] == Symbol(
        "NVDA", "NVIDIA", "XNAS", frozenset({"chips"}), priority="high", aliases={"edgar": "NVDA"}
    )
    assert loaded.providers["perplexity"].budget.reserve == 0.2
    assert [(s.use, s.fresh_for, s.when) for s in loaded.domains["earnings"].sources] == [
        ("edgar", 20 * HOUR, "always"),
        ("perplexity", 7 * DAY, "missing"),
    ]
    assert [s.use for s in loaded.domains["news"].enabled_sources] == ["feeds", "edgar_filings"]
    assert {s.fresh_for for s in loaded.domains["fundamentals"].sources} == {30 * HOUR}
    assert loaded.schedules[0].trigger == EveryTrigger(30 * MINUTE, "America/New_York")
    assert loaded.schedules[1].symbols == ("AAPL",)
    assert loaded.schedules[2].symbols == Tagged(tags=frozenset({"chips"}))


def test_what_has_no_effect_yet_gives_one_warning_each(tmp_path: Path) -> None:
    text = (
        SANDBOX
        + "watchlist: [A]\nmonitors: {}\nbackup: {}\nalerts: {urls: ['https://h/x']}\ndatabase: {url: postgresql://x}\n"
    )
    warnings = load_text(tmp_path, text).warnings
    assert [
        warning.removeprefix(f"{tmp_path}/c.yaml:").split(": no effect in this version yet")[0] for warning in warnings
    ] == ["6:17 database.url"]


@pytest.mark.parametrize(
    "said", ["{urls: [x]}", "{urls: ['mailto:a@b.test']}", "{urls: ['https://']}", "{quiet_hours: night}"]
)
def test_alerts_that_cannot_be_sent_are_told(tmp_path: Path, said: str) -> None:
    with pytest.raises(ConfigurationError, match=r"c.yaml:\d+:\d+ alerts\."):
        load_text(tmp_path, f"{SANDBOX}alerts: {said}\n")


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("[https://ok.test/x, SEKRIT]", "alerts.urls[1]: this is no channel; write a webhook, https://..., or what"),
        ("['https://']", "alerts.urls[0]: this is no address of the web; write https:// or http:// with a"),
        ("['HTTP:']", "alerts.urls[0]: this is no address of the web; write https:// or http:// with a"),
        ("['https:///SEKRIT']", "alerts.urls[0]: this is no address of the web; write https:// or http:// with a"),
        ("['mailto://a:SE[KRIT@b.test']", "alerts.urls[0]: this is not a URL; write [ and ] in a password as %5B"),
        ("['https://b.test:99999/SEKRIT']", "alerts.urls[0]: this is not a URL; write one such as https://"),
    ],
)
def test_a_channel_has_the_form_of_one_and_is_not_repeated(tmp_path: Path, said: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"c.yaml:\d+:\d+ alerts.urls") as refused:
        load_text(tmp_path, f"{SANDBOX}alerts:\n  urls: {said}\n")
    assert wrong in str(refused.value)
    assert "SEKRIT" not in str(refused.value)


@pytest.mark.parametrize("url", ["ping.test/x", "ftp://SEKRIT", "https://", "https://a b/", "mailto://x"])
def test_what_is_pinged_is_an_address_of_the_web(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"c.yaml:\d+:\d+ monitors.health.ping_url: this is no") as refused:
        load_text(tmp_path, f"{SANDBOX}monitors: {{health: {{ping_url: '{url}'}}}}\n")
    assert "SEKRIT" not in str(refused.value)


def test_an_address_that_is_written_may_be_of_this_machine(tmp_path: Path) -> None:
    text = "monitors: {health: {ping_url: 'http://127.0.0.1:8/x'}}\nalerts: {urls: ['http://[::1]:8/x']}\n"
    loaded = load_text(tmp_path, f"{SANDBOX}{text}")
    assert loaded.monitors.health.ping_url is not None
    assert len(loaded.alerts.urls) == 1


def test_defaults_need_no_line(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "watchlist: [AAPL]\n")
    assert (loaded.http.host, loaded.http.port, loaded.executor.concurrency) == ("127.0.0.1", 8321, 32)
    assert loaded.line_of("http.port") == "default"
    assert loaded.schedules == ()


def test_a_section_with_everything_commented_out_has_its_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("http: {port: 1}\n")
    (tmp_path / "b.yaml").write_text("http:\n  # port: 2\nwatchlist:\n")
    assert load_files(tmp_path / "a.yaml", tmp_path / "b.yaml").http.port == 1


def test_it_says_where_each_setting_was_written(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, WHOLE, {"SCHEDULER_EXECUTOR__SLOW_LANE": "3"})
    file = f"{tmp_path}/c.yaml"
    assert loaded.line_of("http.port") == f"{file}:3:36"
    assert loaded.line_of("watchlist[NVDA].tags") == f"{file}:9:56"
    assert loaded.line_of("schedules[news-intraday].trigger.every") == f"{file}:27:22"
    assert loaded.line_of("schedules[news-intraday].nothing") == f"{file}:24:5"
    assert loaded.line_of("executor.slow_lane") == "environment SCHEDULER_EXECUTOR__SLOW_LANE"
    assert loaded.line_of("nothing.at.all") == "default"


def test_on_stays_a_ticker_and_quoted_oddities_are_symbols(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, 'watchlist: [ON, NO, brk.b, "TRUE", "1", "NULL", 12:30:45, ^NSEI, M&M]\n')
    names = [symbol.symbol for symbol in loaded.watchlist]
    assert names == ["ON", "NO", "BRK.B", "TRUE", "1", "NULL", "12:30:45", "^NSEI", "M&M"]


def test_the_watchlist_can_be_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "w.csv").write_text(
        '\ufeffSymbol,name,tags,priority\nON,"ON Semi, Inc.",chips; auto,high\n\nTRUE,,,\n0700,Tencent,,\n',
        encoding="utf-8",
    )
    loaded = load_text(tmp_path, "watchlist: {file: lists/w.csv}\n")
    assert [s.symbol for s in loaded.watchlist] == ["ON", "TRUE", "0700"]
    assert loaded.watchlist[0] == Symbol("ON", "ON Semi, Inc.", None, frozenset({"chips", "auto"}), "high")
    assert loaded.line_of("watchlist[0700].name") == f"{tmp_path}/lists/w.csv:5:1"


def test_later_files_override_schedules_by_id_and_the_watchlist_by_symbol(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        SANDBOX + DOMAINS + "service: {name: a, drain_timeout: 5s}\nwatchlist: [AAPL, {symbol: nvda, name: Nvidia}]\n"
        "schedules: [{id: s, domain: news, trigger: {every: 30m}}, {id: t, domain: news, trigger: {every: 1h}}]\n"
    )
    (tmp_path / "b.yaml").write_text(
        "service: {name: b}\nwatchlist: [{symbol: NVDA, priority: high}, SNOW]\n"
        "schedules: [{id: s, trigger: {every: 40m}}]\n"
    )
    loaded = load_files(tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert (loaded.service.name, loaded.service.drain_timeout) == ("b", 5 * SECOND)
    assert [s.symbol for s in loaded.watchlist] == ["AAPL", "NVDA", "SNOW"]
    assert (loaded.watchlist[1].name, loaded.watchlist[1].priority) == ("Nvidia", "high")
    assert [(s.id, s.trigger.interval) for s in loaded.schedules] == [("s", 40 * MINUTE), ("t", HOUR)]
    assert loaded.line_of("schedules[s].trigger.every") == f"{tmp_path}/b.yaml:3:38"
    assert loaded.line_of("schedules[t].trigger.every") == f"{tmp_path}/a.yaml:5:98"


def test_the_environment_wins_over_files_and_replaces_lists(tmp_path: Path) -> None:
    environ = {
        "SCHEDULER_CONFIG": "anything",
        "SCHEDULER_SERVICE__NAME": "123",
        "SCHEDULER_HTTP__PORT": "9000",
        "SCHEDULER_WATCHLIST": '["snow", {"symbol": "ON", "tags": ["x"]}]',
        "SCHEDULER_PROVIDERS__EDGAR": '{"user_agent": "me me@example.com"}',
        "SCHEDULER_PROVIDERS__PERPLEXITY__BUDGET__USD_PER_DAY": "null",
        "SCHEDULER_SCHEDULES": "[]",
        "SCHEDULER_DOMAINS__NEWS__SOURCES": '["feeds"]',
        "HOME": "/root",
    }
    loaded = load_text(tmp_path, WHOLE.replace("tags: [chips], priority", "priority"), environ)
    assert (loaded.service.name, loaded.http.port, loaded.schedules) == ("123", 9000, ())
    assert [s.symbol for s in loaded.watchlist] == ["SNOW", "ON"]
    assert loaded.providers["edgar"].requests_per_second == 5
    assert loaded.providers["perplexity"].budget.usd_per_day is None
    assert loaded.line_of("watchlist[SNOW]") == "environment SCHEDULER_WATCHLIST"


def test_relative_paths_start_from_the_file_that_says_them(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "c.yaml").write_text("service: {data_dir: d}\nlogging: {file: {path: ../x.log}}\n")
    (tmp_path / "b" / "c.yaml").write_text("backup: {directory: backups}\n")
    environ = {"SCHEDULER_MONITORS__RISK__PORTFOLIO": "p.csv", "STATE_DIRECTORY": "/var/lib/x"}
    loaded = load_files(tmp_path / "a/c.yaml", tmp_path / "b/c.yaml", environ=environ, cwd=tmp_path / "cwd")
    assert loaded.service.data_dir == tmp_path / "a" / "d"
    assert loaded.logging.file is not None
    assert loaded.logging.file.path == tmp_path / "x.log"
    assert loaded.backup.directory == tmp_path / "b" / "backups"
    assert loaded.monitors.risk.portfolio == tmp_path / "cwd" / "p.csv"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, "data"), ({"STATE_DIRECTORY": "/var/lib/stocks:/var/lib/other"}, "/var/lib/stocks")],
)
def test_an_unwritten_data_directory_is_systemd_s_or_beside_the_file(
    tmp_path: Path, environ: dict[str, str], expected: str
) -> None:
    assert load_text(tmp_path, "watchlist: [AAPL]\n", environ).service.data_dir == tmp_path / expected


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"STATE_DIRECTORY": "/var/lib/stocks:/var/lib/other"},
        {"SCHEDULER_SERVICE__DATA_DIR": "d"},
        {"SCHEDULER_SERVICE": '{"data_dir": "/d"}', "STATE_DIRECTORY": "/var/lib/stocks"},
    ],
)
@pytest.mark.parametrize("service", ["", "service:\n", "service: {data_dir: ../x}\n", "service: {data_dir: ~/x}\n"])
def test_the_data_directory_is_found_without_validation_where_loading_puts_it(
    tmp_path: Path, environ: dict[str, str], service: str
) -> None:
    loaded = load_text(tmp_path, f"watchlist: [AAPL]\n{service}", environ)
    assert find_data_dir(loaded.files, environ, tmp_path) == (loaded.service.data_dir, [])


@pytest.mark.parametrize(
    "text",
    ["service: {data_dir: x", "", "a: [", "- x\n", "service: 7\n", "service: [data_dir]\n", "\xff"]
    + [f"service: {{data_dir: {wrong}}}\n" for wrong in ("null", "7", "[x]", "{x: y}", "true", '" "', '"\\0"')],
)
def test_what_cannot_be_used_is_passed_over_on_the_way_to_the_data_directory(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_bytes(text.encode("latin-1"))
    files = [tmp_path / "c.yaml", tmp_path / "missing.yaml"]
    assert find_data_dir(files, {})[0] == tmp_path / "data"
    assert find_data_dir(files, {"STATE_DIRECTORY": "/var/lib/x"})[0] == Path("/var/lib/x")
    assert find_data_dir(files, {"SCHEDULER_SERVICE__DATA_DIR": "d"}, tmp_path / "cwd")[0] == tmp_path / "cwd/d"
    assert find_data_dir(files, {"SCHEDULER_SERVICE__DATA_DIR": "["})[0] == tmp_path / "data"


def test_one_sandboxed_provider_in_use_makes_a_sandbox_of_the_data(tmp_path: Path) -> None:
    def loaded(providers: str) -> Settings:
        domains = "domains: {news: {sources: [feeds, edgar_filings]}}\nwatchlist: [A]\n"
        return load_text(tmp_path, f"providers: {{sandbox: {{enabled: true}}, {providers}}}\n{domains}")

    edgar = 'edgar: {base_url: "http://127.0.0.1:1", www_base_url: "http://localhost:1"}'
    feeds = 'feeds: {urls: ["http://[::1]:1/{symbol}"]}'
    assert loaded("").sandbox
    mixed = loaded(edgar)
    assert mixed.sandbox
    assert not mixed.uses_sandbox("edgar")
    assert mixed.uses_sandbox("feeds")
    assert not loaded(f"{edgar}, {feeds}").sandbox
    assert not loaded(f"{edgar}, feeds: {{enabled: false}}").sandbox


def test_the_packaged_sandbox_loads_without_a_warning_from_any_folder(tmp_path: Path) -> None:
    providers = {name: client.Options for name, client in discover_clients().items()}
    loaded = load([SANDBOX_CONFIG], {}, providers=providers, sources=source_providers(), cwd=tmp_path)
    assert loaded.warnings == ()
    assert loaded.sandbox
    assert loaded.service.data_dir == tmp_path / "data"
    names = [symbol.symbol for symbol in loaded.watchlist]
    assert names == ["AAPL", "NVDA", "SNOW", "ACMEX", "GLOBX", "INITX", "UMBRX", "HOOLX"]
    assert [(s.id, s.domain) for s in loaded.schedules] == [
        ("news", "news"),
        ("earnings-morning", "earnings"),
        ("fundamentals-evening", "fundamentals"),
        ("quotes", "quotes"),
        ("quotes-close", "quotes"),
    ]


def test_the_live_example_loads_once_a_user_agent_is_filled_in(tmp_path: Path) -> None:
    providers = {name: client.Options for name, client in discover_clients().items()}
    path = tmp_path / "scheduler.yaml"
    shutil.copy(CHECKOUT / "config" / "live.example.yaml", path)
    shutil.copy(CHECKOUT / "config" / "watchlist.example.csv", tmp_path / "watchlist.csv")

    def loaded(**environ: str) -> Settings:
        return load([path], environ, providers=providers, sources=source_providers())

    with pytest.raises(ConfigurationError) as caught:
        loaded()
    (problem,) = caught.value.problems
    assert problem.path == "providers.edgar.user_agent"
    assert problem.where == f"{path}:24:17"
    agent = {"SCHEDULER_PROVIDERS__EDGAR__USER_AGENT": "Jane Doe jane.doe@example.com"}
    without_key = loaded(**agent)
    assert [w.partition("providers.")[2] for w in without_key.warnings] == [
        f"perplexity: {without_key.off['perplexity']}"
    ]
    assert without_key.used_providers == {"edgar", "feeds"}
    assert not without_key.sandbox
    assert "ON" in [symbol.symbol for symbol in without_key.watchlist]
    assert without_key.service.data_dir == tmp_path / "data"
    assert loaded(**agent, STATE_DIRECTORY="/var/lib/x").service.data_dir == Path("/var/lib/x")
    with_key = loaded(**agent, PERPLEXITY_API_KEY="pplx-one")
    assert not with_key.warnings
    assert not with_key.off
    assert with_key.used_providers == {"edgar", "feeds", "perplexity"}


def test_a_schedule_selects_all_symbols_named_ones_or_tagged_ones(tmp_path: Path) -> None:
    schedules = load_text(tmp_path, WHOLE).schedules
    stocks = [Symbol("AAPL"), Symbol("NVDA", tags=frozenset({"chips", "ai"}))]
    assert [[schedule.selects(stock) for stock in stocks] for schedule in schedules] == [
        [True, True],
        [True, False],
        [False, True],
    ]


def test_windows_markets_queues_and_choices_load(tmp_path: Path) -> None:
    text = (
        f"{SANDBOX}watchlist: [AAPL, {{symbol: NVDA, tags: [chips]}}]\n{DOMAINS}schedules:\n"
        "  - {id: a, domain: news, trigger: {every: 30m}, during: {market: NYSE}, catch_up: all, overlap: queue}\n"
        "  - {id: b, domain: news, trigger: {market: XNYS, at: open-30m}, symbols: {stalest: 5}}\n"
        "  - {id: c, domain: news, trigger: {cron: '0 9 * * *', timezone: Asia/Tokyo},\n"
        "     during: {days: [mon, fri], hours: '08:00-18:00'}, symbols: {tags: [chips], stalest: 1}}\n"
    )
    a, b, c = load_text(tmp_path, text).schedules
    assert (a.catch_up, a.overlap, a.stalest) == ("all", "queue", None)
    assert exchanges_of(a.trigger) == exchanges_of(b.trigger) == {"XNYS"}
    assert a.trigger.describe().startswith("every 30 minutes, during the sessions of XNYS")
    assert b.trigger.describe() == "30 minutes before the open of XNYS"
    assert (
        c.trigger.describe() == "at 09:00 every day, Asia/Tokyo, on Monday and Friday from 08:00 to 18:00, Asia/Tokyo"
    )
    stocks = [Symbol("AAPL"), Symbol("NVDA", tags=frozenset({"chips"}))]
    assert [(s.stalest, [s.selects(stock) for stock in stocks]) for s in (b, c)] == [
        (5, [True, True]),
        (1, [False, True]),
    ]


def test_it_finds_the_configuration_and_says_why_this_one(tmp_path: Path) -> None:
    given_paths = [Path("a.yaml"), Path("b.yaml")]
    assert find_config(given_paths, {"SCHEDULER_CONFIG": "x"}, tmp_path).paths == tuple(given_paths)
    packaged = find_config([], {}, tmp_path)
    assert packaged.paths == (SANDBOX_CONFIG,)
    assert packaged.sentence.startswith("Configuration: the packaged sandbox, for no other")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "scheduler.yaml").write_text("watchlist: [AAPL]\n")
    assert find_config([], {}, tmp_path).paths == (tmp_path / "config" / "scheduler.yaml",)
    assert find_config([], {"SCHEDULER_CONFIG": "x.yaml"}, tmp_path) == (
        (tmp_path / "x.yaml",),
        "Configuration: x.yaml, as $SCHEDULER_CONFIG says.",
    )


def test_a_watchlist_of_ten_thousand_symbols_loads(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("symbol\n" + "".join(f"S{i}\n" for i in range(10_000)))
    assert len(load_text(tmp_path, "watchlist: {file: w.csv}\n").watchlist) == 10_000


def test_the_types_alone_import_neither_yaml_nor_pydantic_settings() -> None:
    program = (
        "import sys, scheduler_service.settings.loaded, scheduler_service.settings.providers;"
        "print([name for name in ('ruamel.yaml', 'pydantic_settings', 'cronsim') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert done.stdout.strip() == "['cronsim']"


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
sections = st.sampled_from(
    ["service", "http", "watchlist", "providers", "domains", "schedules", "retention", "logging", "backup"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text().map(str.encode) | st.binary() | st.dictionaries(sections, yaml_values).map(json.dumps).map(str.encode))
@example(b"schedules: [{id: a, domain: news, trigger: {every: 1h}, symbols: {tags: [1]}}]")
@example(b"watchlist: [[A], {symbol: {a: b}}, {symbol: [1]}]")
@example(b"providers: {feeds: {urls: ['http://[']}, edgar: {base_url: 'http://x:99999999'}}")
@example(b"watchlist: {file: [1]}\nhttp: {host: ''}\nservice: {data_dir: \"\\0\", timezone: ../../etc/passwd}")
@example(b"schedules: [{id: a, domain: news, trigger: {cron: 5}}, {id: b, domain: x, trigger: {at: [1]}}, 5, [a]]")
def test_anything_at_all_gives_settings_or_problems(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(body)
    with suppress(ConfigurationError):
        assert load([path], {}, providers=PROVIDERS, sources=SOURCES).files == (path,)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text("ABHTP_X", max_size=8).map(lambda tail: f"SCHEDULER_{tail}") | st.just("SCHEDULER_HTTP__PORT"),
        st.text(max_size=20) | st.sampled_from(["[", "{}", "[[]]", "[" * 5000, "[NaN]", '{"a": 1e999}', "{" * 30]),
        max_size=4,
    )
)
def test_any_environment_gives_settings_or_problems(environ: dict[str, str]) -> None:
    with suppress(ConfigurationError):
        load([SANDBOX_CONFIG], environ, providers=PROVIDERS, sources=SOURCES)
