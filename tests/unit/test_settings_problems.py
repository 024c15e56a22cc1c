from __future__ import annotations

from pathlib import Path

import pytest

from scheduler_service.errors import ConfigurationError
from scheduler_service.settings.explain import did_you_mean
from tests.unit.settings_support import NEWS, load_files, load_text, problems_of

KNOWN = (
    "known here: alerts, backup, database, domains, executor, http, logging, monitors, providers, retention, "
    "schedules, service, watchlist"
)
DURATION = "write a number and a unit, such as 250ms, 30s, 5m, 2h or 7d"
SYMBOL = "a symbol has 1 to 64 visible characters without spaces; write one such as AAPL"
QUOTE = 'is not text, so not a symbol; if it is one, quote it, such as "TRUE" or "0700"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("servce: {}", "1:1 servce: there is no setting 'servce'; did you mean service?"),
        ("qqq: 1", f"1:1 qqq: there is no setting 'qqq'; {KNOWN}"),
        ("http: {prot: 1}", "1:8 http.prot: there is no setting 'prot'; did you mean port?"),
        (
            "http: 5",
            "1:7 http: settings as `key: value` are needed, not 5; write {key: value}, or one a line, indented",
        ),
        ("http: {port: eighty}", "1:14 http.port: a whole number is needed, not 'eighty'"),
        ("http: {port: true}", "1:14 http.port: true is not a number; write one"),
        ("http: {port: 80.5}", "1:14 http.port: a whole number is needed, not 80.5"),
        ("http: {port: 70000}", "1:14 http.port: 70000 should be less than or equal to 65535"),
        ('http: {port: "80"}', "1:14 http.port: a whole number is needed, not '80'; write it without quotes"),
        (
            'providers: {edgar: {budget: {usd_per_day: "1.00"}}}',
            "1:43 providers.edgar.budget.usd_per_day: a number is needed, not '1.00'; write it without quotes",
        ),
        ("http: {port: null}", "1:14 http.port: a whole number is needed, not null"),
        ("service: {name: 12}", '1:17 service.name: text is needed, not 12; write it in quotes, "..."'),
        ("service: {drain_timeout: 25}", f"1:26 service.drain_timeout: 25 is not a duration; {DURATION}"),
        (
            "service: {timezone: America/NewYork}",
            "1:21 service.timezone: 'America/NewYork' is not a known time zone; did you mean America/New_York?",
        ),
        ('service: {data_dir: ""}', "1:21 service.data_dir: this is not a path; write one such as ./data"),
        (
            "logging: {level: info}",
            "1:18 logging.level: 'info' is not one of TRACE, DEBUG, INFO, SUCCESS, WARNING, ERROR, CRITICAL; "
            "did you mean INFO?",
        ),
        ("logging: {file: {rotation: 5MB}}", "1:17 logging.file.path: it is missing; add `path: ...`"),
        (
            "retention: {news: {itmes: 5}}",
            "1:20 retention.news.itmes: there is no setting 'itmes'; did you mean items?",
        ),
        ("watchlist: [AAPL, 1]", f"1:19 watchlist[1].symbol: 1 {QUOTE}"),
        ("watchlist: [TRUE]", f"1:13 watchlist[0].symbol: true {QUOTE}"),
        ("watchlist: [NULL]", f"1:13 watchlist[0].symbol: null {QUOTE}"),
        ("watchlist:\n  - AAPL\n  -\n", f"3:4 watchlist[1].symbol: null {QUOTE}"),
        (
            "watchlist: [A B]",
            f"1:13 watchlist[A B].symbol: {SYMBOL}",
        ),
        (
            "watchlist: [aapl, AAPL]",
            "1:19 watchlist[AAPL]: the symbol 'AAPL' stands here a second time; the first is at c.yaml:1:13; keep one",
        ),
        ("watchlist: [{name: x}]", "1:13 watchlist[0].symbol: it is missing; add `symbol: ...`"),
        (
            "watchlist: [{symbol: A, tags: x}]",
            "1:31 watchlist[A].tags: a list is needed, not 'x'; write [a, b], or one item a line after `- `",
        ),
        (
            "watchlist: [{symbol: A, aliases: {edgr: X}}]",
            "1:41 watchlist[A].aliases.edgr: there is no provider 'edgr'; did you mean edgar?",
        ),
        (
            "watchlist: {file: no.csv}",
            "1:19 watchlist.file: no.csv: the file does not exist; give the path of an existing one",
        ),
        ("watchlist: {fiel: w.csv, file: 5}", "1:13 watchlist.fiel: there is no setting 'fiel'; did you mean file?"),
        ("providers: {feds: {}}", "1:13 providers.feds: there is no provider 'feds'; did you mean feeds?"),
        (
            "providers: {edgar: {user_agnet: x}}",
            "1:21 providers.edgar.user_agnet: there is no setting 'user_agnet'; did you mean user_agent?",
        ),
        (
            "providers: {edgar: {base_url: ftp://x}}",
            "1:31 providers.edgar.base_url: only http:// and https:// addresses can be asked; write one such as https://example.com",
        ),
        (
            "providers: {feeds: {urls: [https://x/, javascript:x]}}",
            "1:40 providers.feeds.urls[1]: only http:// and https:// addresses can be asked; write one such as https://example.com",
        ),
        (
            "providers: {feeds: {budget: {reserve: 20}}}",
            "1:39 providers.feeds.budget.reserve: 20 is not a share; write a percentage from 0% to 100%, such as 20%",
        ),
        (
            "providers: {feeds: {requests_per_minute: .inf}}",
            "1:42 providers.feeds.requests_per_minute: a number is needed, not '.inf'",
        ),
        ("domains: {newz: {sources: [feeds]}}", "1:11 domains.newz: there is no domain 'newz'; did you mean news?"),
        ("domains: {news: {sources: []}}", "1:27 domains.news.sources: this should have at least 1 item, not 0"),
        ("domains: {news: {}}", "1:17 domains.news.sources: it is missing; add `sources: ...`"),
        (
            "domains: {news: {sources: [feed]}}",
            "1:28 domains.news.sources[0].use: news has no source 'feed'; did you mean feeds?",
        ),
        (
            "domains: {news: {sources: [{use: feed}]}}",
            "1:34 domains.news.sources[0].use: news has no source 'feed'; did you mean feeds?",
        ),
        (
            "domains: {news: {sources: [feeds, feeds]}}",
            "1:35 domains.news.sources[1].use: the source feeds is listed twice; keep one",
        ),
        (
            "domains: {news: {sources: [{use: feeds, when: mising}]}}",
            "1:47 domains.news.sources[0].when: 'mising' is not one of always, missing; did you mean missing?",
        ),
        (
            "http: {host: 0.0.0.0}",
            "1:14 http.host: '0.0.0.0' can be reached from other machines, and there is no http.token_file; "
            "write host: 127.0.0.1, or token_file: with the path of a file that holds a token",
        ),
        (
            "monitors: {risk: {stop_loss_percent: 0}}",
            "1:38 monitors.risk.stop_loss_percent: 0 should be greater than 0",
        ),
        *(
            (
                f"monitors: {{health: {{every: {every}}}}}",
                f"1:28 monitors.health.every: {every} is too short for a look; write 1s or more",
            )
            for every in ("1ms", "999ms")
        ),
        *(
            (
                f"backup: {{trigger: {trigger}}}",
                f"1:19 backup.trigger: two backups would be only {shortest} apart, and all of the last 24 hours "
                "are kept; leave 10m or more",
            )
            for trigger, shortest in [
                ("{every: 1s}", "1s"),
                ("{every: 599s}", "599s"),
                ("{cron: '*/5 * * * *'}", "5m"),
                ("{cron: '0,1 2 * * *'}", "1m"),
            ]
        ),
        (
            "backup: {trigger: {every: often}}",
            "1:27 backup.trigger.every: 'often' is not a duration; "
            "write a number and a unit, such as 30s, 5m, 2h or 7d",
        ),
    ],
)
def test_it_names_the_place_the_fault_and_what_would_be_right(tmp_path: Path, text: str, expected: str) -> None:
    assert f"c.yaml:{expected}" in problems_of(tmp_path, text)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("{domain: news, trigger: {every: 1h}}", "4:13 schedules[0].id: it is missing; add `id: ...`"),
        ("{id: s, trigger: {every: 1h}}", "4:13 schedules[s].domain: it is missing; add `domain: ...`"),
        ("{id: s, domain: news}", "4:13 schedules[s].trigger: it is missing; add `trigger: ...`"),
        (
            "{id: a b, domain: news, trigger: {every: 1h}}",
            "4:18 schedules[a b].id: 'a b' is not a name; "
            "use 1 to 64 letters, digits, - and _, starting with a letter or digit",
        ),
        (
            "{id: s, domain: nws, trigger: {every: 1h}}",
            "4:29 schedules[s].domain: there is no domain 'nws'; did you mean news?",
        ),
        (
            "{id: s, domain: earnings, trigger: {every: 1h}}",
            "4:29 schedules[s].domain: the domain earnings is not configured; "
            "write under domains: earnings: {sources: [...]}",
        ),
        (
            "{id: s, domain: news, trigger: {every: 1h}, symbols: AAPL}",
            "4:66 schedules[s].symbols: these are not symbols; "
            "write all, [AAPL, NVDA], {tags: [chips]} or {stalest: 5}",
        ),
        (
            "{id: s, domain: news, trigger: {every: 1h}, symbols: [AAPL, NVDIA]}",
            "4:73 schedules[s].symbols[1]: NVDIA is not on the watchlist; add it there; did you mean NVDA?",
        ),
        ("{id: s, domain: news, trigger: {every: 1h}, symbols: [5]}", f"4:67 schedules[s].symbols[0]: 5 {QUOTE}"),
        (
            "{id: s, domain: news, trigger: {every: 1h}, symbols: {tag: [chips]}}",
            "4:67 schedules[s].symbols.tag: there is no setting 'tag'; did you mean tags?",
        ),
        (
            "{id: s, domain: news, trigger: {every: 1h}, symbols: {}}",
            "4:66 schedules[s].symbols: this selects nothing; write all, [AAPL, NVDA], {tags: [chips]} or {stalest: 5}",
        ),
        (
            "{id: s, domain: news, trigger: {cron: '0 0 31 2 *'}}",
            "4:51 schedules[s].trigger.cron: '0 0 31 2 *' never fires; no such day exists in those months",
        ),
        (
            "{id: s, domain: news, trigger: {every: 1h, timezone: Mars}}",
            "4:66 schedules[s].trigger.timezone: 'Mars' is not a known time zone; "
            "write one such as America/New_York, Europe/Berlin or UTC",
        ),
        (
            "{id: s, domain: news, trigger: {every: 30m}, spread: 30m}",
            "4:66 schedules[s].spread: 30m is not below the 30m between two slots; write a shorter one",
        ),
        (
            "{id: s, domain: news, trigger: {cron: '0 9,10 * * *'}, spread: 2h}",
            "4:76 schedules[s].spread: 2h is not below the 1h between two slots; write a shorter one",
        ),
    ],
)
def test_it_names_what_is_wrong_with_a_schedule(tmp_path: Path, schedule: str, expected: str) -> None:
    assert f"c.yaml:{expected}" in problems_of(tmp_path, f"{NEWS}schedules: [{schedule}]\n")


WINDOWS = 'a window is {market: XNYS} or {days: mon-fri, hours: "08:00-18:00"}'


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (
            "trigger: {market: XNY, at: open}",
            "4:53 schedules[s].trigger.market: 'XNY' is not a known exchange; did you mean XNYS?",
        ),
        (
            "trigger: {market: XNYS, at: noon}",
            "4:63 schedules[s].trigger.at: 'noon' is not a moment of a session; "
            "write open, close, open-30m, open+5m or close+30m",
        ),
        (
            "trigger: {market: XNYS}",
            "4:44 schedules[s].trigger: a trigger with market needs at; "
            "write {market: XNYS, at: open-30m}, or close, or close+30m",
        ),
        (
            "trigger: {every: 1h}, during: {market: NYSEE}",
            "4:74 schedules[s].during.market: 'NYSEE' is not a known exchange; did you mean NYSE?",
        ),
        (
            "trigger: {evry: 1h}",
            "4:51 schedules[s].trigger.evry: 'evry' does not belong in a trigger; did you mean every?",
        ),
        (
            "trigger: {every: 1h}, during: {day: mon}",
            "4:71 schedules[s].during.day: 'day' does not belong in a window; did you mean days?",
        ),
        (
            "trigger: {every: 1h}, during: {days: mo-fri}",
            "4:72 schedules[s].during.days: 'mo-fri' are not weekdays; write mon-fri, sat-sun or mon,wed,fri",
        ),
        (
            "trigger: {every: 1h}, during: {days: [mon, fir]}",
            "4:72 schedules[s].during.days: ['mon', 'fir'] are not weekdays; write mon-fri, sat-sun or mon,wed,fri",
        ),
        (
            "trigger: {every: 1h}, during: {hours: 8-18}",
            "4:73 schedules[s].during.hours: '8-18' are not hours of a day; "
            'write "08:00-18:00", or "22:00-02:00" over midnight',
        ),
        (
            "trigger: {every: 1h}, during: {timezone: Europe/Berln}",
            "4:76 schedules[s].during.timezone: 'Europe/Berln' is not a known time zone; did you mean Europe/Berlin?",
        ),
        (
            "trigger: {every: 1h}, during: {days: mon, market: XNYS}",
            f"4:65 schedules[s].during: 'days' does not belong in a window with 'market'; {WINDOWS}",
        ),
        ("trigger: {every: 1h}, during: {}", f"4:65 schedules[s].during: {{}} is not a window; {WINDOWS}"),
        (
            "trigger: {every: 1h}, during: XNYS",
            "4:65 schedules[s].during: settings as `key: value` are needed, not 'XNYS'; "
            "write {key: value}, or one a line, indented",
        ),
        (
            "trigger: {cron: '0 3 * * *'}, during: {market: XNYS}",
            "4:73 schedules[s].during: no slot is left of 'at 03:00 every day, America/New_York' inside "
            "'during the sessions of XNYS (usually 09:30-16:00, America/New_York)'; change the trigger or the window",
        ),
        (
            "trigger: {every: 1h}, symbols: {stalest: 0}",
            "4:76 schedules[s].symbols.stalest: 0 should be greater than or equal to 1",
        ),
        (
            "trigger: {every: 1h}, symbols: {tags: []}",
            "4:73 schedules[s].symbols.tags: this selects nothing; "
            "write all, [AAPL, NVDA], {tags: [chips]} or {stalest: 5}",
        ),
        (
            "trigger: {every: 1h}, during: {market: XNYS}, spread: 2h",
            "4:89 schedules[s].spread: 2h is not below the 1h between two slots; write a shorter one",
        ),
    ],
)
def test_it_names_what_is_wrong_with_a_window_a_market_or_a_choice(tmp_path: Path, setting: str, expected: str) -> None:
    assert problems_of(tmp_path, f"{NEWS}schedules: [{{id: s, domain: news, {setting}}}]\n") == [f"c.yaml:{expected}"]


def test_a_six_field_cron_is_refused_at_its_own_column(tmp_path: Path) -> None:
    text = f"{NEWS}schedules: [{{id: s, domain: news, trigger: {{cron: 0 0 7 * * mon}}}}]\n"
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith("c.yaml:4:51 schedules[s].trigger.cron: '0 0 7 * * mon' has 6 fields; it takes five")


def test_two_schedules_of_one_name_in_one_file_are_refused(tmp_path: Path) -> None:
    one = "{id: s, domain: news, trigger: {every: 1h}}"
    (problem,) = problems_of(tmp_path, f"{NEWS}schedules:\n  - {one}\n  - {one}\n")
    assert (
        problem == "c.yaml:6:5 schedules[s]: the id 's' stands here a second time; the first is at c.yaml:5:5; keep one"
    )


def test_every_problem_of_every_layer_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        "http: {port: x, host: 0.0.0.0}\n"
        "http: {}\n"
        "watchlist: [AAPL, 5]\n"
        "providers: {sandbox: {enabled: true}, feeds: {timeout: 5}}\n"
        "domains: {news: {sources: [feed]}, earnings: {fresh_for: 1}}\n"
        "schedules:\n"
        "  - {id: a, domain: news, trigger: {every: 1h}, symbols: [X], spread: 5}\n"
        "  - {id: b, domain: earnings, trigger: {cron: '* * * *'}}\n"
    )
    places = [problem.split(": ")[0].removeprefix("c.yaml:") for problem in problems_of(tmp_path, text)]
    assert places == [
        "1:14 http.port",
        "1:23 http.host",
        "2:1",
        "3:19 watchlist[1].symbol",
        "4:56 providers.feeds.timeout",
        "5:28 domains.news.sources[0].use",
        "5:46 domains.earnings.sources",
        "5:58 domains.earnings.fresh_for",
        "7:59 schedules[a].symbols[0]",
        "7:71 schedules[a].spread",
        "8:47 schedules[b].trigger.cron",
    ]


def test_an_alias_is_not_complained_of_a_second_time_as_a_wrong_value(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, "service: {name: &n x}\nlogging: {level: *n}\n")
    assert [problem.split(" ")[0] for problem in problems] == ["c.yaml:1:17", "c.yaml:2:18"]


def test_all_files_that_cannot_be_used_are_named_and_nothing_is_guessed_from_the_rest(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("a: [\n")
    (tmp_path / "c.yaml").write_text("schedules: [{id: s, domain: news, trigger: {every: 1h}}]\n")
    with pytest.raises(ConfigurationError) as caught:
        load_files(tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml")
    assert [problem.where for problem in caught.value.problems] == [f"{tmp_path}/a.yaml", f"{tmp_path}/b.yaml:2:1"]


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("SCHEDULER_HTTP__PORT", "x", "http.port: a whole number is needed, not 'x'"),
        ("SCHEDULER_HTTP__PROT", "1", "http.prot: there is no setting 'prot'; did you mean SCHEDULER_HTTP__PORT?"),
        ("SCHEDULER_HTTP_PORT", "1", "http_port: there is no setting 'http_port'; did you mean SCHEDULER_HTTP__PORT?"),
        ("SCHEDULER_HTPP__PORT", "1", "htpp: there is no setting 'htpp'; did you mean SCHEDULER_HTTP__PORT?"),
        (
            "SCHEDULER_PROVIDERS__EDGR__BASE_URL",
            "x",
            "providers.edgr: there is no provider 'edgr'; did you mean SCHEDULER_PROVIDERS__EDGAR__BASE_URL?",
        ),
        ("SCHEDULER_HTTP", '{"prot": 1}', "http.prot: there is no setting 'prot'; did you mean port?"),
        (
            "SCHEDULER_WATCHLIST",
            "[AAPL]",
            ': this is not JSON: Expecting value at character 2; write a list as ["AAPL", "NVDA"]',
        ),
        (
            "SCHEDULER_WATCHLIST",
            "AAPL",
            "watchlist: a list is needed, not 'AAPL'; write [a, b], or one item a line after `- `",
        ),
        ("SCHEDULER_WATCHLIST", '["A", 5]', f"watchlist[1].symbol: 5 {QUOTE}"),
        ("SCHEDULER_SERVICE__DRAIN_TIMEOUT", "25", f"service.drain_timeout: '25' is not a duration; {DURATION}"),
        (
            "SCHEDULER_SCHEDULES",
            "[" * 100_000,
            ': this is not JSON: it cannot be read; write a list as ["AAPL", "NVDA"]',
        ),
    ],
)
def test_a_problem_of_the_environment_names_the_variable(
    tmp_path: Path, variable: str, value: str, expected: str
) -> None:
    (problem,) = problems_of(tmp_path, "watchlist: [AAPL]\n", {variable: value})
    assert problem == f"environment {variable}{'' if expected.startswith(':') else ' '}{expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            "1:1 watchlist: the first line must name the columns, and symbol among them; "
            "write symbol,name,exchange,tags,priority",
        ),
        (
            "AAPL\nNVDA\n",
            "1:1 watchlist: there is no column 'aapl'; known here: exchange, name, priority, symbol, tags",
        ),
        ("symbol,nmae\nA,B\n", "1:1 watchlist: there is no column 'nmae'; did you mean name?"),
        ("symbol,symbol\nA,B\n", "1:1 watchlist: the column symbol stands twice; keep one"),
        (
            "symbol,name\nA,Apple, Inc.\n",
            "2:1 watchlist: 3 values stand under 2 columns; put a value with a comma in double quotes",
        ),
        (
            "symbol,name\n,Apple\n",
            "2:1 watchlist[0].symbol: a symbol has 1 to 64 visible characters without spaces; write one such as AAPL",
        ),
        (
            "symbol,priority\nA,hgih\n",
            "2:1 watchlist[A].priority: 'hgih' is not one of high, normal, low; did you mean high?",
        ),
        (
            "symbol\nA\na\n",
            "3:1 watchlist[A]: the symbol 'A' stands here a second time; the first is at w.csv:2:1; keep one",
        ),
        (
            'symbol\n"A\n',
            "2:1 watchlist: the row that begins here is not CSV: unexpected end of data; check its quotes",
        ),
        (
            'symbol,name\nA,"two\nlines"\nB,b\nC,"open\nD,d\nE,e\nF,f\n',
            "5:1 watchlist: the row that begins here is not CSV: unexpected end of data; check its quotes",
        ),
        (
            'symbol,name\nA,a\nC,"open\nD,"d\n',
            "3:1 watchlist: the row that begins here is not CSV: ',' expected after '\"'; check its quotes",
        ),
    ],
)
def test_a_watchlist_file_is_checked_line_by_line(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "w.csv").write_text(text)
    assert f"w.csv:{expected}" in problems_of(tmp_path, "watchlist: {file: w.csv}\n")


def test_the_mistakes_of_a_trigger_and_of_its_window_are_told_in_one_round(tmp_path: Path) -> None:
    schedule = "{id: s, domain: news, trigger: {cron: '*/90 * * * *'}, during: {market: NYSEE}}"
    trigger, window = problems_of(tmp_path, NEWS + f"schedules: [{schedule}]")
    assert trigger.endswith(
        " schedules[s].trigger.cron: the minute '*/90' steps over the whole field, which has 60 values; "
        "write every: 90m, without cron"
    )
    assert window.endswith(" schedules[s].during.market: 'NYSEE' is not a known exchange; did you mean NYSE?")


def test_of_the_names_that_are_known_those_that_the_program_gave_are_left_out() -> None:
    known = ["news", "follow-up:AAPL:report", "morning"]
    assert did_you_mean("zzz", known) == "known here: morning, news"
    assert did_you_mean("follow-up:AAPL:reprt", known) == "did you mean follow-up:AAPL:report?"
    assert did_you_mean("zzz", known[1:2]) == "known here: follow-up:AAPL:report"


@pytest.mark.parametrize("word", ["no", "NO", "yes", "ON", "off", "1", "0", "null", '"false"', "'true'", "[]"])
def test_nothing_but_true_and_false_switches_between_sandbox_and_live(tmp_path: Path, word: str) -> None:
    [said] = problems_of(tmp_path, f"providers: {{sandbox: {{enabled: {word}}}}}\n")
    assert said.startswith("c.yaml:1:32 providers.sandbox.enabled: true or false is needed, not ")
    assert said.endswith("; write it without quotes") == (word[0] in "\"'")


@pytest.mark.parametrize(("word", "is_on"), [("true", True), ("True", True), ("FALSE", False), ("false", False)])
def test_a_switch_in_a_variable_is_the_word_as_in_a_file(tmp_path: Path, word: str, is_on: bool) -> None:
    variables = {"SCHEDULER_PROVIDERS__SANDBOX__ENABLED": word, "SCHEDULER_HTTP__PORT": "80"}
    loaded = load_text(tmp_path, "watchlist: [AAPL]\n", variables)
    assert (loaded.sandbox, loaded.http.port) == (is_on, 80)
    [said] = problems_of(tmp_path, "watchlist: [AAPL]\n", {"SCHEDULER_PROVIDERS__SANDBOX__ENABLED": "no"})
    assert "providers.sandbox.enabled: true or false is needed, not 'no'" in said
