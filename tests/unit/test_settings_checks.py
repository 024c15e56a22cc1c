from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.settings_support import NEWS, SANDBOX, load_text, problems_of


@pytest.mark.parametrize(
    "providers",
    [
        "edgar: {}",
        "sandbox: {enabled: true}, edgar: {base_url: https://data.sec.gov}",
        'edgar: {base_url: "http://127.0.0.1:1"}',
        'edgar: {user_agent: " "}',
    ],
)
def test_edgar_is_never_asked_for_real_without_saying_who_asks(tmp_path: Path, providers: str) -> None:
    text = f"watchlist: [A]\nproviders: {{{providers}}}\ndomains: {{earnings: {{sources: [edgar]}}}}\n"
    (problem,) = problems_of(tmp_path, text)
    assert " providers.edgar.user_agent: edgar must be told who asks, since " in problem
    assert problem.endswith('; write under providers.edgar: user_agent: "Your Name your.name@example.com"')


@pytest.mark.parametrize(
    "providers",
    [
        "sandbox: {enabled: true}",
        "edgar: {enabled: false}",
        'edgar: {base_url: "http://127.0.0.1:1", www_base_url: "http://localhost:1"}',
        "edgar: {user_agent: me me@example.com}",
    ],
)
def test_edgar_may_stay_anonymous_where_it_is_not_asked_for_real(tmp_path: Path, providers: str) -> None:
    text = f"watchlist: [A]\nproviders: {{{providers}}}\ndomains: {{earnings: {{sources: [edgar]}}}}\n"
    assert load_text(tmp_path, text)


NAMES = """\
watchlist: [AAPL, {{symbol: MSFT, name: Microsoft}}, {{symbol: NVDA, name: " "}}, {{symbol: ZZZ, tags: [odd]}}]
providers: {{perplexity: {{api_keys: [pplx-0123456789]}}{more}}}
domains: {{news: {{sources: [perplexity]}}}}
schedules: [{{id: s, domain: news, symbols: {symbols}, trigger: {{every: 1d}}}}]
"""


@pytest.mark.parametrize(
    ("symbols", "more", "told"),
    [
        ("all", "", "AAPL, NVDA, ZZZ;"),
        ("{tags: [odd]}", "", "ZZZ;"),
        ("[MSFT]", "", None),
        ("all", ", sandbox: {enabled: true}", None),
    ],
)
def test_a_stock_without_a_name_is_told_where_it_is_asked_of_who_knows_stocks_by_it(
    tmp_path: Path, symbols: str, more: str, told: str | None
) -> None:
    warnings = load_text(tmp_path, NAMES.format(symbols=symbols, more=more)).warnings
    about = [warning for warning in warnings if "knows stocks by name: write one" in warning]
    assert len(about) == (told is not None)
    assert told is None or f"no name is written for {told} perplexity" in about[0]


def test_many_stocks_without_a_name_are_told_in_one_short_line(tmp_path: Path) -> None:
    text = NAMES.format(symbols="all", more="").replace("[AAPL,", "[A, B, C, D, E, F, G, AAPL,")
    (warning,) = [w for w in load_text(tmp_path, text).warnings if "no name" in w]
    assert "for A, B, C, D, E and 5 more; perplexity" in warning


def test_another_host_is_fine_with_a_token_file_that_exists(tmp_path: Path) -> None:
    text = "watchlist: [A]\nhttp: {host: 0.0.0.0, token_file: token}\n"
    (problem,) = problems_of(tmp_path, text)
    assert problem == "c.yaml:2:35 http.token_file: there is no file token; make one that holds a long random token"
    (tmp_path / "token").write_text("0123456789abcdef")
    assert load_text(tmp_path, text).http.token_file == tmp_path / "token"


@pytest.mark.parametrize(
    ("trigger", "fresh_for", "warns"),
    [
        ("{every: 30m}", "12h", True),
        ("{every: 30m}", "33m", False),
        ("{every: 30m}", "60m", False),
        ("{every: 10m}", "60m", True),
        ("{cron: '0 7 * * *'}", "24h", False),
        ("{cron: '0 7 * * *'}", "7d", True),
        ("{at: 2027-01-04T09:00:00Z}", "7d", False),
    ],
)
def test_it_warns_where_most_slots_would_find_fresh_data(
    tmp_path: Path, trigger: str, fresh_for: str, warns: bool
) -> None:
    text = (
        f"{SANDBOX}watchlist: [A]\ndomains: {{news: {{sources: [{{use: feeds, fresh_for: {fresh_for}}},"
        " {use: edgar_filings, fresh_for: 1s, when: missing}]}}\n"
        f"schedules: [{{id: s, domain: news, trigger: {trigger}}}]\n"
    )
    warnings = [w for w in load_text(tmp_path, text).warnings if "when: missing" not in w]
    assert [w for w in warnings if "most of its slots" in w] == warnings
    assert bool(warnings) == warns


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("http: {}", "c.yaml watchlist: it is empty, so nothing will be fetched"),
        (
            "watchlist: [A]\nproviders: {feeds: {enabled: false}}\ndomains: {news: {sources: [feeds]}}",
            "c.yaml:3:28 domains.news.sources[0].use: never asked: the provider feeds is switched off",
        ),
        (
            "watchlist: [A]\ndomains: {news: {sources: [feeds]}}",
            "c.yaml providers.feeds.urls: nothing is asked of feeds: no address is written",
        ),
        (
            "watchlist: [A]\ndomains: {news: {sources: [feeds]}}\nproviders: {feeds: {urls: [https://example.com/all]}}",
            "c.yaml:3:28 providers.feeds.urls[0]: without {symbol} this one address is asked for every symbol, "
            "and says the same of each",
        ),
        (
            NEWS + "schedules: [{id: s, domain: news, trigger: {every: 1h}, symbols: {tags: [chisp]}}]",
            "c.yaml:4:73 schedules[s].symbols.tags: no symbol of the watchlist has the tag 'chisp'",
        ),
    ],
)
def test_what_is_allowed_but_probably_not_meant_is_a_warning(tmp_path: Path, text: str, warning: str) -> None:
    warnings = [w.replace(f"{tmp_path}/", "") for w in load_text(tmp_path, text).warnings]
    assert warnings == [warning]


@pytest.mark.parametrize(
    ("text", "path", "zone", "meant"),
    [
        ("service: {timezone: EST}\n" + NEWS, "service.timezone", "EST", "America/New_York"),
        (
            NEWS + "schedules: [{id: s, domain: news, trigger: {cron: '@daily', timezone: MST}}]",
            "schedules[s].trigger.timezone",
            "MST",
            "America/Denver",
        ),
        (
            NEWS + "schedules: [{id: s, domain: news, trigger: {every: 1h}, during: {days: mon, timezone: EST}}]",
            "schedules[s].during.timezone",
            "EST",
            "America/New_York",
        ),
        (
            NEWS + "backup: {trigger: {cron: '@daily', timezone: EST}}",
            "backup.trigger.timezone",
            "EST",
            "America/New_York",
        ),
    ],
)
def test_a_zone_without_summer_time_is_a_warning_that_names_the_one_that_has_it(
    tmp_path: Path, text: str, path: str, zone: str, meant: str
) -> None:
    said = f" {path}: {zone} is one offset all year, without summer time; {meant} follows the clocks there"
    (warning,) = [w for w in load_text(tmp_path, text).warnings if "summer time" in w]
    assert warning.endswith(said)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "EST5EDT", "CET", "HST", "Etc/GMT+5"])
def test_other_zones_are_taken_as_they_are(tmp_path: Path, zone: str) -> None:
    assert "summer time" not in str(load_text(tmp_path, f"service: {{timezone: {zone}}}\n" + NEWS).warnings)


@pytest.mark.parametrize(
    "text",
    [
        "providers: {perplexity: SEKRIT}",
        "providers: {perplexity: {enabled: pplx-SEKRIT}}",
        "providers: {perplexity: {concurrency: Bearer SEKRIT}}",
        "providers: {perplexity: {api_keys: [{SEKRIT: 1}]}}",
        "providers: {edgar: {base_url: 'https://me:SEKRIT@x/'}}",
        "database: {url: [SEKRIT]}",
        "alerts: {urls: SEKRIT}",
    ],
)
def test_a_secret_never_stands_in_a_problem(tmp_path: Path, text: str) -> None:
    assert "SEKRIT" not in "\n".join(problems_of(tmp_path, text))


def test_a_secret_never_stands_in_the_text_of_the_settings(tmp_path: Path) -> None:
    text = "providers: {perplexity: {api_keys: [SEKRIT]}}\ndatabase: {url: 'postgresql://u:SEKRIT@h/d'}\nalerts: {urls: ['https://h/SEKRIT']}\n"
    assert "SEKRIT" not in repr(load_text(tmp_path, text))
