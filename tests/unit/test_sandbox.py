from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
from pydantic import SecretStr

from scheduler_service.calls import Limits, Request
from scheduler_service.clock import DAY, HOUR, SECOND, Instant, from_iso
from scheduler_service.errors import PermanentClientError, TransientClientError
from scheduler_service.models import Reason
from scheduler_service.sandbox.bundle import bundled
from scheduler_service.sandbox.faults import Fault, FaultKind, Kind, ModelFault, WrongData
from scheduler_service.sandbox.memory import BASE, MemoryTransport
from scheduler_service.sandbox.upstream import ANY_KEY, SandboxUpstream, urls

if TYPE_CHECKING:
    from scheduler_service.sandbox.reply import Reply

AGENT = ("User-Agent", "Tests tests@example.com")
TICKERS = "/files/company_tickers.json"
APPLE = "/submissions/CIK0000320193.json"
APPLE_FACTS = "/api/xbrl/companyfacts/CIK0000320193.json"
FEED = "/feeds/AAPL.rss"


class SteppedClock:
    """Moves only by being slept on or stepped."""

    def __init__(self, now: str = "2026-11-23T14:30:00Z") -> None:
        self.at: Instant = from_iso(now)
        self.slept: list[float] = []

    def now(self) -> Instant:
        return self.at

    def monotonic(self) -> float:
        return self.at / SECOND

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += round(seconds * SECOND)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def upstream(clock: SteppedClock) -> SandboxUpstream:
    return SandboxUpstream(clock)


def get(upstream: SandboxUpstream, path: str, *headers: tuple[str, str]) -> Reply:
    return upstream.answer(Request(BASE + path, headers=(AGENT, *headers)))


def loaded(upstream: SandboxUpstream, path: str) -> Any:
    reply = get(upstream, path)
    assert reply.status == 200, reply
    return json.loads(reply.body)


def test_it_lists_every_company_in_the_ticker_file(upstream: SandboxUpstream) -> None:
    rows = loaded(upstream, TICKERS)
    assert list(rows) == [str(n) for n in range(8)]
    assert {"cik_str": 320193, "ticker": "AAPL", "title": "Apple Inc."} in rows.values()
    assert {row["ticker"] for row in rows.values()} == {
        *("AAPL", "NVDA", "SNOW"),
        *("ACMEX", "GLOBX", "INITX", "UMBRX", "HOOLX"),
    }


def test_it_serves_submissions_as_columns_newest_first(upstream: SandboxUpstream) -> None:
    submissions = loaded(upstream, APPLE)
    assert submissions["cik"] == "0000320193"
    assert submissions["tickers"] == ["AAPL"]
    recent = submissions["filings"]["recent"]
    assert len({len(column) for column in recent.values()}) == 1
    assert recent["filingDate"] == sorted(recent["filingDate"], reverse=True)
    assert recent["accessionNumber"][1] == "0000320193-26-000006"
    assert "2.02,9.01" in recent["items"]


def test_it_serves_companyfacts_with_a_numeric_cik(upstream: SandboxUpstream) -> None:
    facts = loaded(upstream, APPLE_FACTS)
    assert facts["cik"] == 320193
    rows = facts["facts"]["us-gaap"]["NetIncomeLoss"]["units"]["USD"]
    assert {
        "start": "2025-09-28",
        "end": "2025-12-27",
        "val": 42_097_000_000,
        "accn": "0000320193-26-000006",
        "fy": 2026,
        "fp": "Q1",
        "form": "10-Q",
        "filed": "2026-01-30",
    } in rows
    assert "start" not in facts["facts"]["us-gaap"]["Assets"]["units"]["USD"][0]


def test_edgar_s_data_has_no_etag(upstream: SandboxUpstream) -> None:
    assert not {"etag", "last-modified"} & get(upstream, APPLE).headers.keys()


def test_a_filing_appears_when_it_is_accepted() -> None:
    clock = SteppedClock("2026-01-30T06:01:31Z")
    upstream = SandboxUpstream(clock)
    assert b"0000320193-26-000006" not in get(upstream, APPLE).body + get(upstream, APPLE_FACTS).body
    clock.at = from_iso("2026-01-30T06:01:33Z")
    assert b"0000320193-26-000006" in get(upstream, APPLE).body
    assert b"0000320193-26-000006" in get(upstream, APPLE_FACTS).body


@pytest.mark.parametrize("agent", [(), (("User-Agent", " "),), (("user-agent", "Python/3.11 aiohttp/3.14"),)])
def test_it_refuses_who_does_not_say_who_it_is(upstream: SandboxUpstream, agent: tuple[tuple[str, str], ...]) -> None:
    reply = upstream.answer(Request(BASE + TICKERS, headers=agent))
    assert reply.status == 403
    assert b"Undeclared Automated Tool" in reply.body


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/submissions/CIK0000000001.json", 404, "NoSuchKey"),
        ("/submissions/CIK-000000001.json", 404, "NoSuchKey"),
        ("/api/xbrl/companyfacts/CIK0000000001.json", 404, "NoSuchKey"),
        ("/Archives/edgar/full-index/2099/QTR1/form.gz", 403, "AccessDenied"),
    ],
)
def test_what_is_not_there_is_said_in_xml(upstream: SandboxUpstream, path: str, status: int, code: str) -> None:
    reply = get(upstream, path)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/xml"
    assert ElementTree.fromstring(reply.body).findtext("Code") == code


def test_every_headline_says_that_it_is_the_sandbox_s(upstream: SandboxUpstream, clock: SteppedClock) -> None:
    items = list(ElementTree.fromstring(get(upstream, FEED).body).iter("item"))
    assert len(items) == 20
    assert len({item.findtext("link") for item in items}) == 20
    for item in items:
        assert item.findtext("source") == "sandbox"
        assert urlsplit(item.findtext("link") or "").hostname == "sandbox.invalid"


def test_the_same_hour_has_the_same_headlines(upstream: SandboxUpstream, clock: SteppedClock) -> None:
    again = SandboxUpstream(SteppedClock())
    assert get(upstream, FEED) == get(again, FEED)
    before = get(upstream, FEED).headers["etag"]
    clock.at += DAY
    assert get(upstream, FEED).headers["etag"] != before


def test_a_feed_the_caller_has_is_not_sent_again(upstream: SandboxUpstream, clock: SteppedClock) -> None:
    first = get(upstream, FEED)
    by_tag = get(upstream, FEED, ("If-None-Match", first.headers["etag"]))
    by_date = get(upstream, FEED, ("If-Modified-Since", first.headers["last-modified"]))
    assert [(by_tag.status, by_tag.body), (by_date.status, by_date.body)] == [(304, b""), (304, b"")]
    clock.at += 8 * HOUR
    assert get(upstream, FEED, ("If-None-Match", first.headers["etag"])).status == 200
    assert get(upstream, FEED, ("If-Modified-Since", first.headers["last-modified"])).status == 200


def test_a_feed_of_an_unknown_symbol_is_not_found(upstream: SandboxUpstream) -> None:
    assert get(upstream, "/feeds/NOPE.rss").status == 404


def test_it_remembers_requests_without_their_secrets(upstream: SandboxUpstream, clock: SteppedClock) -> None:
    upstream.answer(Request(f"{BASE}{FEED}?token=SEKRIT", headers=(AGENT, ("Authorization", "Bearer SEKRIT"))))
    (seen,) = upstream.seen
    assert (seen.at, seen.provider, seen.method, seen.path) == (clock.now(), "feeds", "GET", FEED)
    assert seen.headers == {"user-agent": AGENT[1], "authorization": "***"}
    assert "SEKRIT" not in str(vars(upstream))


def test_it_tells_keys_and_bodies_apart_without_keeping_them(upstream: SandboxUpstream) -> None:
    for key, body in (("one", b"a"), ("two", b"a"), ("one", b"b"), ("", None)):
        headers = (("Authorization", f"Bearer {key}"),)
        upstream.answer(Request(f"{BASE}/v1/agent", "POST", headers, body))
    assert [seen.key for seen in upstream.seen] == [1, 2, 1, 0]
    assert [seen.body_bytes for seen in upstream.seen] == [1, 1, 1, 0]
    first, second, third, fourth = (seen.body_sha256 for seen in upstream.seen)
    assert first == second != third
    assert fourth == ""


def test_its_urls_point_every_provider_at_it() -> None:
    assert urls("http://127.0.0.1:1234") == {
        "edgar": {"base_url": "http://127.0.0.1:1234", "www_base_url": "http://127.0.0.1:1234"},
        "feeds": {"urls": ["http://127.0.0.1:1234/feeds/{symbol}.rss"]},
        "finnhub": {"base_url": "http://127.0.0.1:1234", "api_keys": (SecretStr(ANY_KEY),)},
        "perplexity": {"base_url": "http://127.0.0.1:1234", "api_keys": (SecretStr(ANY_KEY),)},
        "quotes_file": {"base_url": "http://127.0.0.1:1234"},
    }


def test_a_fault_strikes_as_often_as_it_was_told(upstream: SandboxUpstream) -> None:
    upstream.faults.add(Fault(kind=FaultKind.STATUS, status=429, retry_after="7", count=2))
    replies = [get(upstream, APPLE) for _ in range(3)]
    assert [reply.status for reply in replies] == [429, 429, 200]
    assert replies[0].headers["retry-after"] == "7"
    assert upstream.faults.listed() == ()


def test_a_fault_ends_at_its_instant(upstream: SandboxUpstream, clock: SteppedClock) -> None:
    upstream.faults.add(Fault(kind=FaultKind.STATUS, status=503, until=clock.now() + HOUR))
    assert b"File Unavailable" in get(upstream, APPLE).body
    clock.at += HOUR
    assert get(upstream, APPLE).status == 200


def test_a_fault_concerns_only_its_provider_and_path(upstream: SandboxUpstream) -> None:
    elsewhere = Fault(kind=FaultKind.EMPTY, provider="feeds")
    below = Fault(kind=FaultKind.EMPTY, path="/api/")
    upstream.faults.add(elsewhere, below)
    assert get(upstream, APPLE).body
    assert not get(upstream, FEED).body
    assert not get(upstream, APPLE_FACTS).body
    upstream.faults.remove(below)
    assert get(upstream, APPLE_FACTS).body
    upstream.faults.clear()
    assert get(upstream, FEED).body


def test_a_fault_concerns_only_its_key(upstream: SandboxUpstream) -> None:
    upstream.faults.add(Fault(kind=FaultKind.OUT_OF_CREDIT, key=1))

    def status(key: str) -> int:
        return upstream.answer(Request(f"{BASE}/search", "POST", (("Authorization", f"Bearer {key}"),), b"{}")).status

    assert [status("first"), status("second"), status("first")] == [401, 400, 401]
    assert get(upstream, APPLE).status == 200


def test_a_model_s_fault_concerns_no_one_else(upstream: SandboxUpstream) -> None:
    good = get(upstream, APPLE_FACTS), get(upstream, FEED)
    upstream.faults.add(Fault(kind=ModelFault.PROSE, count=1))
    assert (get(upstream, APPLE_FACTS), get(upstream, FEED)) == good
    assert upstream.faults.listed()


def struck(upstream: SandboxUpstream, kind: Kind, path: str = APPLE_FACTS, **more: Any) -> Reply:
    upstream.faults.add(Fault(kind=kind, count=1, **more))
    return get(upstream, path)


def test_faults_make_the_bodies_they_are_named_for(upstream: SandboxUpstream) -> None:
    good = get(upstream, APPLE_FACTS).body
    assert struck(upstream, FaultKind.THRESHOLD).status == 403
    assert b"Request Rate Threshold Exceeded" in struck(upstream, FaultKind.THRESHOLD).body
    assert struck(upstream, FaultKind.HTML).headers["content-type"].startswith("text/html")
    assert struck(upstream, FaultKind.BRACKETS).body == b"[" * 1_000_000
    assert struck(upstream, FaultKind.TRUNCATED).body == good[: len(good) // 2]
    assert struck(upstream, FaultKind.BODY, body="{}").body == b"{}"
    assert b'"val":NaN' in struck(upstream, FaultKind.NAN).body
    assert b"9" * 5_000 in struck(upstream, FaultKind.HUGE_INT).body
    assert struck(upstream, FaultKind.DUPLICATE_KEYS).body.count(b'"cik":') == 2
    assert struck(upstream, FaultKind.REDIRECT, location="/other").headers["location"] == "/other"
    assert get(upstream, APPLE_FACTS).body == good


def test_another_company_s_data_can_come_back(upstream: SandboxUpstream) -> None:
    wrong = json.loads(struck(upstream, FaultKind.WRONG_COMPANY).body)
    assert wrong["cik"] != 320193
    assert wrong["facts"]["us-gaap"]
    assert b"Apple" not in struck(upstream, FaultKind.WRONG_COMPANY, FEED).body


def test_data_can_be_wrong_and_look_right(upstream: SandboxUpstream) -> None:
    facts, filings = json.loads(get(upstream, APPLE_FACTS).body), json.loads(get(upstream, APPLE).body)
    rows, count = facts["facts"]["us-gaap"]["NetIncomeLoss"]["units"]["USD"], len(filings["filings"]["recent"]["form"])

    def told(kind: WrongData, path: str = APPLE_FACTS) -> Any:
        return json.loads(struck(upstream, kind, path).body)

    zeros = told(WrongData.ZEROS)["facts"]["us-gaap"]["NetIncomeLoss"]["units"]["USD"]
    assert zeros == [row | {"val": 0} for row in rows]
    assert told(WrongData.HALF)["facts"]["us-gaap"]["NetIncomeLoss"]["units"]["USD"] == rows[::2]
    half = told(WrongData.HALF, APPLE)["filings"]["recent"]
    assert {len(column) for column in half.values()} == {-(-count // 2)}
    assert len(told(WrongData.HALF, TICKERS)) == 4
    assert told(WrongData.EMPTY_LISTS, APPLE)["filings"]["recent"]["form"] == []
    older = told(WrongData.OLDER, APPLE)["filings"]["recent"]
    assert older["filingDate"] == [day for day in filings["filings"]["recent"]["filingDate"] if day <= "2025-10-19"]


def test_a_feed_can_lose_its_stories(upstream: SandboxUpstream) -> None:
    def stories(kind: WrongData) -> int:
        return len(list(ElementTree.fromstring(struck(upstream, kind, FEED).body).iter("item")))

    assert [stories(kind) for kind in WrongData] == [20, 0, 10, 20]
    assert b"Oct 2025" in struck(upstream, WrongData.OLDER, FEED).body


async def test_latency_and_slowness_are_slept_on_the_clock(clock: SteppedClock) -> None:
    upstream = SandboxUpstream(clock, latency=0.5)
    upstream.faults.add(Fault(kind=FaultKind.SLOW, seconds=3, count=1))
    transport = MemoryTransport(upstream, clock)
    await transport.send(Request(BASE + TICKERS), Limits())
    await transport.send(Request(BASE + TICKERS), Limits())
    assert clock.slept == [3.5, 0.5]


@pytest.mark.parametrize("kind", [FaultKind.SLOW, FaultKind.DRIP, FaultKind.BLACKHOLE])
async def test_in_memory_too_an_answer_that_takes_too_long_is_given_up(
    upstream: SandboxUpstream, clock: SteppedClock, kind: FaultKind
) -> None:
    upstream.faults.add(Fault(kind=kind, seconds=3600))
    with pytest.raises(TransientClientError) as caught:
        await MemoryTransport(upstream, clock).send(Request(BASE + TICKERS), Limits(timeout=30))
    assert caught.value.reason is Reason.TIMEOUT
    assert clock.slept == [30]


async def test_in_memory_too_an_endless_answer_is_larger_than_any_limit(
    upstream: SandboxUpstream, clock: SteppedClock
) -> None:
    upstream.faults.add(Fault(kind=FaultKind.ENDLESS))
    with pytest.raises(PermanentClientError) as caught:
        await MemoryTransport(upstream, clock).send(Request(BASE + TICKERS), Limits(max_bytes=100_000_000))
    assert caught.value.reason is Reason.TOO_LARGE


async def test_in_memory_too_a_question_is_not_carried_elsewhere(
    upstream: SandboxUpstream, clock: SteppedClock
) -> None:
    upstream.faults.add(Fault(kind=FaultKind.REDIRECT, location="/search"))
    with pytest.raises(PermanentClientError) as caught:
        await MemoryTransport(upstream, clock).send(Request(f"{BASE}/v1/agent", "POST"), Limits(redirects=3))
    assert caught.value.reason is Reason.REDIRECTED
    assert len(upstream.seen) == 1


async def test_in_memory_nothing_but_the_sandbox_can_be_reached(upstream: SandboxUpstream, clock: SteppedClock) -> None:
    transport = MemoryTransport(upstream, clock)
    with pytest.raises(TransientClientError) as caught:
        await transport.send(Request("https://example.com/"), Limits())
    assert caught.value.reason is Reason.PROVIDER_DOWN
    upstream.faults.add(Fault(kind=FaultKind.REDIRECT, location="https://example.com/"))
    with pytest.raises(PermanentClientError) as refused:
        await transport.send(Request(BASE + FEED), Limits(redirects=3))
    assert refused.value.reason is Reason.REDIRECTED


def test_fictional_companies_are_plainly_so() -> None:
    fictional = [company for company in bundled() if company.profile.cik >= 9_990_000_000]
    assert [company.profile.name for company in fictional] == [
        "Acme Example Corp",
        "Globex Sample Inc",
        "Hooli Imaginary Inc",
        "Initech Fiction Ltd",
        "Umbrella Make-Believe plc",
    ]


@pytest.mark.parametrize("symbol", ["ACMEX", "GLOBX", "INITX", "UMBRX", "HOOLX"])
def test_invented_figures_add_up(symbol: str) -> None:
    (company,) = (company for company in bundled() if company.profile.symbol == symbol)
    values = {(fact.tag, fact.start, fact.end): fact.value for fact in company.facts}
    assert len(values) == len({(f.tag, f.start, f.end, f.value) for f in company.facts}), "no restatements"
    spans = {(start, end) for tag, start, end in values if tag == "NetIncomeLoss" and start}
    revenue_tag = "Revenues" if any(f.tag == "Revenues" for f in company.facts) else None
    revenue_tag = revenue_tag or "RevenueFromContractWithCustomerExcludingAssessedTax"
    cost_tag = "CostOfRevenue" if any(f.tag == "CostOfRevenue" for f in company.facts) else "CostOfGoodsAndServicesSold"
    for start, end in spans:
        revenue, cost = values[revenue_tag, start, end], values[cost_tag, start, end]
        assert values.get(("GrossProfit", start, end), revenue - cost) == revenue - cost
        shares = values["WeightedAverageNumberOfDilutedSharesOutstanding", start, end]
        net = values["NetIncomeLoss", start, end]
        assert values["EarningsPerShareDiluted", start, end] == pytest.approx(net / shares, abs=0.005)
        assert (net < 0) == (symbol == "INITX")
        assert values["Assets", None, end] > values["StockholdersEquity", None, end] > 0
    days = {(date.fromisoformat(end) - date.fromisoformat(str(start))).days for start, end in spans}
    assert days <= {*range(88, 99), *range(179, 184), *range(271, 276), *range(362, 371)}
    assert ("GrossProfit" in {f.tag for f in company.facts}) == (symbol != "UMBRX")


def test_filings_stand_in_order_under_numbers_of_their_own() -> None:
    for company in bundled():
        filed = [filing.filed for filing in company.filings]
        assert filed == sorted(filed)
        accessions = {filing.accession for filing in company.filings}
        assert len(accessions) == len(filed)
        assert {fact.accession for fact in company.facts} <= accessions
