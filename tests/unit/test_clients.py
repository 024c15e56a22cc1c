from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from scheduler_service.calls import Resource, Response
from scheduler_service.clients.base import check_status, discover, retry_after, shown
from scheduler_service.clients.edgar_client import EdgarClient
from scheduler_service.clients.feed_client import FeedClient
from scheduler_service.clock import DAY, MINUTE
from scheduler_service.errors import (
    ClientError,
    NotFound,
    PermanentClientError,
    RateLimited,
    Refused,
    TransientClientError,
)
from scheduler_service.models import Reason, Symbol
from tests.fakes import FakeClock

ERRORS = (Path(__file__).resolve().parents[2] / "../shared/fixtures/edgar/errors").resolve()
NOW = FakeClock("2026-11-23T14:30:00Z").now()

UNDECLARED = (
    b"<html><head><title>SEC.gov | Your Request Originates from an Undeclared Automated Tool</title></head></html>"
)
THRESHOLD = b"<html><head><title>SEC.gov | Request Rate Threshold Exceeded</title></head><body></body></html>"
"""Synthetic: written after the pages' known titles."""


def answer(status: int, body: bytes = b"{}", content_type: str = "application/json", **headers: str) -> Response:
    named = {"content-type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, named, body, "https://user:pass@data.example/path?token=canary")


def recording(name: str) -> bytes:
    path = ERRORS / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not here")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 30 ", 30.0),
        ("86400", 86400.0),
        ("86401", 3600.0),
        ("315360000", 3600.0),
        ("9" * 5000, 3600.0),
        ("-5", 3600.0),
        ("1.5", 3600.0),
        ("soon", 3600.0),
        ("", 3600.0),
        ("Mon, 23 Nov 2026 14:40:00 GMT", 600.0),
        ("Mon, 23 Nov 2026 14:30:00 GMT", 0.0),
        ("Mon, 23 Nov 2026 14:00:00 GMT", 3600.0),
        ("Wed, 23 Nov 2036 14:30:00 GMT", 3600.0),
        ("Mon, 23 Nov 2026 14:40:00 -0000", 3600.0),
        ("Mon, 99 Nov 2026 14:40:00 GMT", 3600.0),
    ],
)
def test_it_honours_retry_after_and_takes_absurd_or_past_values_for_an_hour(value: str, seconds: float) -> None:
    assert retry_after({"retry-after": value}, NOW) == seconds


def test_no_retry_after_is_no_wish() -> None:
    assert retry_after({}, NOW) is None


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (301, PermanentClientError, Reason.REDIRECTED),
        (304, PermanentClientError, Reason.UNREADABLE),
        (400, PermanentClientError, Reason.BAD_REQUEST),
        (401, Refused, Reason.REFUSED),
        (403, Refused, Reason.REFUSED),
        (404, NotFound, Reason.NO_DATA),
        (408, TransientClientError, Reason.PROVIDER_DOWN),
        (410, NotFound, Reason.NO_DATA),
        (418, PermanentClientError, Reason.BAD_REQUEST),
        (429, RateLimited, Reason.RATE_LIMITED),
        (500, TransientClientError, Reason.PROVIDER_DOWN),
        (503, TransientClientError, Reason.PROVIDER_DOWN),
        (999, TransientClientError, Reason.PROVIDER_DOWN),
    ],
)
def test_each_status_has_one_meaning(status: int, error: type[ClientError], reason: Reason) -> None:
    with pytest.raises(ClientError) as caught:
        check_status(answer(status), NOW)
    assert type(caught.value) is error
    assert (caught.value.reason, caught.value.status) == (reason, status)
    assert "canary" not in str(caught.value)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 204])
def test_good_statuses_pass(status: int) -> None:
    check_status(answer(status), NOW)


def test_the_wait_asked_for_is_carried_and_said() -> None:
    with pytest.raises(RateLimited, match="taken as 3600 s") as caught:
        check_status(answer(429, retry_after="-1"), NOW)
    assert caught.value.retry_after == 3600
    with pytest.raises(TransientClientError) as down:
        check_status(answer(503, retry_after="90"), NOW)
    assert down.value.retry_after == 90


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:pass@host.example:8443/a/b?key=1#f", "https://host.example:8443/a/b"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("http://[broken", "an unreadable address"),
        ("http://host:99999/", "an unreadable address"),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, expected: str) -> None:
    assert shown(url) == expected


def test_clients_are_found_not_registered() -> None:
    found = discover()
    assert found["edgar"] is EdgarClient
    assert found["feeds"] is FeedClient
    for provider, client in found.items():
        assert client.provider == provider
        assert client(client.Options(), FakeClock()).check is not None


def edgar(**options: object) -> EdgarClient:
    return EdgarClient(EdgarClient.Options.model_validate(options), FakeClock())


def test_edgar_asks_politely_and_where_it_was_told() -> None:
    client = edgar(user_agent="Jane Doe jane@example.com", base_url="http://127.0.0.1:9/", timeout="12s")
    resource = client.submissions(320193)
    assert resource.request.url == "http://127.0.0.1:9/submissions/CIK0000320193.json"
    assert dict(resource.request.headers)["User-Agent"] == "Jane Doe jane@example.com"
    assert "gzip" in dict(resource.request.headers)["Accept-Encoding"]
    assert (resource.key, resource.max_age) == ("edgar:submissions:0000320193", 4 * MINUTE)
    assert (resource.limits.timeout, resource.limits.redirects) == (12.0, 0)


def test_edgar_names_its_resources() -> None:
    client = edgar()
    assert client.tickers().request.url == "https://www.sec.gov/files/company_tickers.json"
    facts = client.company_facts("0000320193", "0000320193-25-000079")
    assert facts.request.url == "https://data.sec.gov/api/xbrl/companyfacts/CIK0000320193.json"
    assert (facts.key, facts.revision) == ("edgar:companyfacts:0000320193", "0000320193-25-000079")
    assert facts.max_age == client.tickers().max_age == DAY


def test_edgar_links_to_filings() -> None:
    folder = "https://www.sec.gov/Archives/edgar/data/320193/000032019325000079/"
    assert edgar().filing_url(320193, "0000320193-25-000079", "aapl 1.htm") == folder + "aapl%201.htm"
    assert edgar().filing_url("0000320193", "0000320193-25-000079") == folder + "0000320193-25-000079-index.htm"


def test_edgar_is_never_asked_faster_than_the_sec_allows() -> None:
    with pytest.raises(ValidationError):
        edgar(requests_per_second=11)


def refused(resource: Resource, response: Response) -> ClientError:
    with pytest.raises(ClientError) as caught:
        edgar().check(resource, response)
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (403, UNDECLARED, "text/html"),
        (429, THRESHOLD, "text/html"),
        (200, THRESHOLD, "text/html"),
        (403, b"Request Rate Threshold Exceeded", "text/plain"),
        (429, b"", "text/plain"),
    ],
)
def test_edgars_block_is_ten_minutes_for_everyone(status: int, body: bytes, content_type: str) -> None:
    error = refused(edgar().submissions(1), answer(status, body, content_type))
    assert isinstance(error, RateLimited)
    assert error.retry_after == 600


def test_edgars_block_is_longer_when_it_says_so() -> None:
    error = refused(edgar().submissions(1), answer(429, b"", retry_after="1800"))
    assert isinstance(error, RateLimited)
    assert error.retry_after == 1800


def test_a_file_that_does_not_exist_is_not_a_refusal() -> None:
    denied = answer(403, recording("403-full-index-nonexistent.body"), "application/xml")
    missing = answer(404, recording("404-CIK-000000001.json.body"), "application/xml")
    client = edgar()
    for response in (denied, missing):
        assert isinstance(refused(client.submissions(1), response), NotFound)
        assert refused(client.submissions(1), response).reason is Reason.UNKNOWN_SYMBOL
        assert refused(client.company_facts(1, None), response).reason is Reason.NO_DATA


def test_any_other_403_is_a_refusal() -> None:
    assert isinstance(refused(edgar().tickers(), answer(403, b"no", "text/plain")), Refused)


def test_an_outage_page_is_transient() -> None:
    page = recording("503-tcurrent_count_100_start_5100_type_owner_include_output_atom.body")
    error = refused(edgar().tickers(), answer(503, page, "text/html"))
    assert type(error) is TransientClientError
    assert error.reason is Reason.PROVIDER_DOWN


@pytest.mark.parametrize("content_type", ["text/html", "application/json", ""])
def test_a_page_in_place_of_json_is_not_kept(content_type: str) -> None:
    body = b"{}" if content_type == "text/html" else b"\n <!DOCTYPE html><html></html>"
    assert refused(edgar().tickers(), answer(200, body, content_type)).reason is Reason.UNREADABLE


def test_good_json_passes() -> None:
    edgar().check(edgar().tickers(), answer(200, b'{"title": "Threshold Inc."}'))


def test_the_page_of_a_filing_is_a_page_and_no_other_is() -> None:
    index = edgar().filing_index(42, "0000000042-26-000007")
    html, table = "text/html; charset=utf-8", b'<table summary="Document Format Files"></table>'
    edgar().check(index, answer(200, b"<html><title>Threshold Inc.</title>" + table + b"</html>", html))
    assert isinstance(refused(index, answer(200, THRESHOLD, html)), RateLimited)
    assert isinstance(refused(index, answer(403, THRESHOLD + table, html)), RateLimited)
    for body in (b"<html>File Unavailable</html>", b"", b"{}"):
        assert refused(index, answer(200, body, html)).reason is Reason.UNREADABLE
    assert refused(edgar().submissions(42), answer(200, table, html)).reason is Reason.UNREADABLE
    assert index.limits.max_bytes < edgar().submissions(42).limits.max_bytes


def feeds(*urls: str) -> FeedClient:
    return FeedClient(FeedClient.Options(urls=urls), FakeClock())


def test_feeds_put_the_quoted_symbol_into_each_url() -> None:
    client = feeds("https://a.example/rss?s={symbol}&lang=en", "https://b.example/{symbol}.xml")
    first, second = client.feeds(Symbol("BRK/B&X=1"))
    assert first.request.url == "https://a.example/rss?s=BRK%2FB%26X%3D1&lang=en"
    assert second.request.url == "https://b.example/BRK%2FB%26X%3D1.xml"
    assert first.limits.redirects == 3
    assert first.limits.max_bytes == 1_000_000


def test_feeds_use_the_name_they_know_the_stock_by() -> None:
    symbol = Symbol("BRK.B", aliases={"feeds": "BRK-B"})
    assert feeds("https://a.example/{symbol}").feeds(symbol)[0].request.url == "https://a.example/BRK-B"


def test_a_feed_keeps_its_key_and_gives_none_of_its_url_away() -> None:
    client = feeds("https://a.example/{symbol}?token=canary", "https://a.example/all?token=canary")
    apple, nvidia = client.feeds(Symbol("AAPL")), client.feeds(Symbol("NVDA"))
    assert apple == client.feeds(Symbol("AAPL"))
    assert apple[0].key != nvidia[0].key
    assert apple[1] == nvidia[1]
    assert "canary" not in apple[0].key


def test_a_feed_that_is_gone_is_not_asked_again() -> None:
    client = feeds("https://a.example/{symbol}")
    resource = client.feeds(Symbol("AAPL"))[0]
    client.check(resource, answer(200, b"<rss/>", "application/xml"))
    with pytest.raises(NotFound):
        client.check(resource, answer(410))


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "https://", "a.example/{symbol}", "https://a/{name}", "https://{symbol}/", "http://[x"],
)
def test_feed_urls_are_checked_before_they_are_asked(url: str) -> None:
    with pytest.raises(ValidationError):
        FeedClient.Options(urls=(url,))
