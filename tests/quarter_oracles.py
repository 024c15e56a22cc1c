"""What a quarter must have shown, reckoned from the wire, from the calendar and from what is documented: nothing of
the service is asked. Each oracle yields a sentence for everything that is not as it should be.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from scheduler_service.sandbox.bundle import with_stand_ins
from tests.quarter_support import DAY, HELD, HOUR, MINUTE, WATCHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.quarter_support import Quarter, Sent

NEW_YORK = ZoneInfo("America/New_York")
CLOSED = {date(2026, 12, 25), date(2027, 1, 1), date(2027, 1, 18), date(2027, 2, 15)}
HALF_DAYS = {date(2026, 12, 24)}
RESTORED_NIGHT = date(2027, 1, 27)
SANDBOX = "https://sandbox.invalid/"
FIRST_LOOKS = {"bmo": (time(9), time(13)), "amc": (time(17), time(20)), "unknown": (time(9), time(17, 30))}
POSITIONS = {  # quantity, average price, own stop
    "ACMEX": (60, "160", None),
    "GLOBX": (60, "170", "150"),
    "HOOLX": (40, "150", None),
    "INITX": (30, "365", None),
    "UMBRX": (-50, "195", None),
    "QAAX": (50, "228", None),
    "QABX": (30, "310", None),
    "QACX": (20, "340", "300"),
}
_DRILL = re.compile(r"<title>(Sandbox drill [^<]*)</title>.*?<pubDate>([^<]*)</pubDate>", re.DOTALL)


def at(day: date, local: time) -> int:
    return round(datetime.combine(day, local, tzinfo=NEW_YORK).timestamp()) * 1_000_000


def days(q: Quarter) -> list[date]:
    first = datetime.fromtimestamp(q.start / 1e6, NEW_YORK).date()
    last = datetime.fromtimestamp(q.end / 1e6, NEW_YORK).date()
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def sessions(q: Quarter) -> Iterator[tuple[date, int, int]]:
    for day in days(q):
        if day.weekday() < 5 and day not in CLOSED:
            opens, closes = at(day, time(9, 30)), at(day, time(13 if day in HALF_DAYS else 16))
            if q.start < opens and closes < q.end:
                yield day, opens, closes


def when(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat()


def differ(what: str, expected: Iterable[Any], found: Iterable[Any]) -> Iterator[str]:
    wanted, seen = Counter(list(expected)), Counter(list(found))
    yield from (f"{what}: {one} is missing" for one in (wanted - seen).elements())
    yield from (f"{what}: {one} is too much" for one in (seen - wanted).elements())


def every_opening_and_closing_once(q: Quarter) -> Iterator[str]:
    wanted = {
        f"market.{word}:XNYS:{day}": instant
        for day, opens, closes in sessions(q)
        for word, instant in (("opened", opens), ("closed", closes))
    }
    places = {"ledger": [one.key for one in q.outbox], "log": q.logged, "strategy log": q.strategy_log}
    for place, keys in places.items():
        yield from differ(place, wanted, [key for key in keys if key.startswith("market.")])
    for one in q.outbox:
        if one.key in wanted and not 0 <= one.at - wanted[one.key] <= MINUTE:
            yield f"{one.key} was noticed at {when(one.at)}"


def every_notice_once_everywhere(q: Quarter) -> Iterator[str]:
    keys = [one.key for one in q.outbox]
    yield from differ("log", keys, q.logged)
    yield from differ("strategy log", keys, q.strategy_log)


def every_alert_came_under_its_own_key(q: Quarter) -> Iterator[str]:
    alerts = [one.key for one in q.outbox if one.is_alert]
    taken = [told.key for told in q.told if told.is_taken]
    yield from differ("webhook", alerts, taken)
    if taken != alerts:
        yield "the webhook was not told in order"
    unsure = {told.key for told in q.told if not told.is_taken}
    if not unsure:
        yield "no alert was ever doubtful, so that this proves nothing"
    for key, count in Counter(told.key for told in q.told).items():
        if count > 1 and key not in unsure:
            yield f"{key} came {count} times, though it was taken"
    for told in q.told:
        said = json.loads(told.body)
        if said["key"] != told.key or said["sandbox"] is not True or "SANDBOX" not in said["message"]:
            yield f"the alert {told.key} is not marked, or has another key within"


def nothing_real_was_asked(q: Quarter) -> Iterator[str]:
    yield from sorted({one.url for one in q.sent if not one.url.startswith(SANDBOX)})


def expected_slots(q: Quarter) -> dict[str, list[int]]:
    weekdays = [day for day in days(q) if day.weekday() < 5]
    hours = range(q.start // HOUR * HOUR, q.end, HOUR)
    of = {
        "news": [at(day, time(17, 10)) for day in weekdays],
        "earnings": [at(day, time(7)) for day in weekdays],
        "fundamentals": [at(day, time(18, 30)) for day in weekdays if day.weekday() == 4],
        "quotes": [hour for _, opens, closes in sessions(q) for hour in hours if opens <= hour < closes],
        "quotes-close": [closes + 5 * MINUTE for _, _, closes in sessions(q)],
    }
    return {name: [slot for slot in slots if q.start < slot <= q.end] for name, slots in of.items()}


def every_slot_is_accounted_for(q: Quarter) -> Iterator[str]:
    for name, wanted in expected_slots(q).items():
        rows = [row for row in q.slots if row.schedule_id == name]
        covered = [slot for row in rows for slot in wanted if row.first <= slot <= row.last]
        yield from differ(f"slots of {name}", map(when, wanted), map(when, covered))
        for row in rows:
            inside = sum(row.first <= slot <= row.last for slot in wanted)
            if (row.slots, row.first in wanted, row.last in wanted) != (inside, True, True):
                yield f"{name}: a row from {when(row.first)} counts {row.slots} slots, there are {inside}"
            if row.outcome not in ("ran", "caught_up", "coalesced", "skipped", "missed"):
                yield f"{name}: {row.outcome}"
        late = [row for row in rows if row.outcome != "ran" and not _near(q, row.first)]
        yield from (f"{name}: {row.outcome} at {when(row.first)}, and nothing had happened" for row in late)


def _near(q: Quarter, instant: int) -> bool:
    """Whether it lies where the service was killed, or in the half day that a restore took back."""
    starts = q.said("service.starting")
    night = at(RESTORED_NIGHT, time(2))
    return any(start - MINUTE <= instant <= start + MINUTE for start in starts[1:]) or (
        night <= instant <= night + 13 * HOUR
    )


def a_backup_every_night(q: Quarter) -> Iterator[str]:
    nights = [night for day in days(q) if q.start < (night := at(day, time(2))) < q.end]
    made = q.said("backup.completed")
    for night in nights:
        if not any(night <= one <= night + MINUTE for one in made):
            yield f"no backup at {when(night)}"
    if len(made) != len(nights):  # what was restored is in the backup that it came from
        yield f"{len(made)} backups in {len(nights)} nights"


class _Level(NamedTuple):
    level: int
    is_over: bool


def _prices(q: Quarter) -> Iterator[tuple[int, dict[str, tuple[Decimal, Decimal, int]]]]:
    """After each round of quotes: when it ended, and what was known of each position."""
    known: dict[str, tuple[Decimal, Decimal, int]] = {}
    quotes = [one for one in q.sent if urlsplit(one.url).path == "/api/v1/quote" and one.status == 200]
    for quote, following in pairwise([*quotes, None]):
        assert quote is not None
        said = json.loads(quote.body, parse_float=Decimal)
        symbol = parse_qs(urlsplit(quote.url).query)["symbol"][0]
        known[symbol] = (Decimal(said["c"]), Decimal(said["pc"]), said["t"])
        if (following is None or following.at - quote.at > 5 * MINUTE) and len(known) == len(HELD):
            yield quote.at, dict(known)


def _levels(prices: dict[str, tuple[Decimal, Decimal, int]]) -> Iterator[tuple[str, str, _Level]]:
    """Of each subject: its name, what it is told anew with, and how bad it is, by docs/watching.md."""
    gross = cost = gain = Decimal(0)
    for symbol, (price, close, stamp) in sorted(prices.items()):
        quantity, average, stop = POSITIONS[symbol]
        bought, side = Decimal(average), 1 if quantity > 0 else -1
        loss = side * (bought - price) / bought * 100
        limit = Decimal(5) if stop is None else side * (bought - Decimal(stop)) / bought * 100
        steps = 0 if loss < limit else 1 + int((loss - limit) / Decimal("2.5"))
        yield f"stop:{symbol}", "", _Level(steps, loss < limit - Decimal("0.25"))
        moved = abs(price / close - 1) * 100
        day = datetime.fromtimestamp(stamp, UTC).date().isoformat()
        yield f"move:{symbol}", day, _Level((moved >= 3) + (moved >= 5), moved < Decimal("2.7"))
        gross += abs(quantity) * price
        cost += abs(quantity) * bought
        gain += quantity * (price - bought)
    for symbol, (price, _, _) in sorted(prices.items()):
        share = abs(POSITIONS[symbol][0]) * price / gross * 100
        yield f"concentration:{symbol}", "", _Level((share >= 15) + (share >= 30), share < Decimal("13.5"))
    lost = -gain / cost * 100
    yield "loss", "", _Level((lost >= 5) + (lost >= 10) + (lost >= 20), lost < Decimal("4.5"))


def every_breach_once(q: Quarter) -> Iterator[str]:
    told: dict[str, tuple[int, str]] = {}
    wanted: list[tuple[str, str]] = []
    for instant, prices in _prices(q):
        for subject, day, found in _levels(prices):
            level, of_day = told.get(subject, (0, day))
            level = level if of_day == day else 0
            if found.level > level:
                told[subject] = (found.level, day)
                wanted.append((f"risk.breach:{subject}:{found.level}", _half_hour(instant)))
            elif level and found.is_over:
                del told[subject]
                wanted.append((f"risk.cleared:{subject}", _half_hour(instant)))
    found_keys = [
        (one.key.partition("@")[0], _half_hour(one.at))
        for one in q.outbox
        if one.event in ("risk.breach", "risk.cleared")
    ]
    yield from differ("risk", wanted, found_keys)
    kinds = Counter(key.split(":")[1] for key, _ in wanted if key.startswith("risk.breach"))
    if kinds["stop"] < 3 or kinds["move"] < 3:
        yield f"this quarter proves little of breaches: {kinds}"


def _half_hour(instant: int) -> str:
    """A monitor looks every few minutes, and quotes come each hour and five minutes after a close."""
    return when(instant // (30 * MINUTE) * (30 * MINUTE))


def old_quotes_are_told_once(q: Quarter) -> Iterator[str]:
    stale = [when(one.at) for one in q.outbox if one.event == "risk.quotes_stale"]
    outage = at(date(2027, 1, 5), time(12))
    if len(stale) != 1 or not when(outage) < stale[0] < when(outage + HOUR):
        yield f"old quotes were told of at {stale}"


class Filed(NamedTuple):
    """Results that a company tells in the quarter."""

    symbol: str
    cik: int
    accession: str
    day: date
    known_at: int | None
    """When the service could first read of it."""
    report: date | None
    """The end of the period whose report followed in the quarter."""


def filed(q: Quarter) -> list[Filed]:
    found = []
    for company in with_stand_ins({name: name for name in WATCHED}):
        cik, symbol = company.profile.cik, company.profile.symbol
        asked = [one.at for one in q.sent if one.status == 200 and one.url.endswith(f"/submissions/CIK{cik:010d}.json")]
        reports = [(f, _instant(f.accepted)) for f in company.filings if f.form != "8-K"]
        for filing in company.filings:
            accepted = _instant(filing.accepted)
            if symbol in WATCHED and "2.02" in filing.items and q.start < accepted < q.end - 2 * DAY:
                ends = [f.report_date for f, when_ in reports if accepted < when_ < min(accepted + 5 * DAY, q.end)]
                known = next((instant for instant in asked if instant >= accepted), None)
                day, end = date.fromisoformat(filing.filed), date.fromisoformat(ends[0]) if ends else None
                found.append(Filed(symbol, cik, filing.accession, day, known, end))
    return found


def _instant(accepted: str | None) -> int:
    moment = "2000-01-01T00:00:00Z" if accepted is None else accepted
    return round(datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() * 1e6)


def results_make_two_domains_due(q: Quarter) -> Iterator[str]:
    results = filed(q)
    if len(results) < 15:
        yield f"{len(results)} results are no season"
    before = {filing.accession for c in with_stand_ins({n: n for n in WATCHED}) for filing in c.filings}
    before -= {one.accession for one in results}  # of those, the first look at a stock may or may not make something
    told = [one for one in q.outbox if one.event == "filing.results"]
    noticed = [one for one in told if one.key.rpartition(":")[2] not in before]
    wanted = [f"filing.results:{one.symbol}:{one.accession}" for one in results]
    yield from differ("results", wanted, [one.key for one in noticed])
    for one in noticed:
        for domain in ("earnings", "fundamentals"):
            fetched = [
                t
                for t in q.tasks
                if (t.symbol, t.domain, t.source, t.origin) == (one.symbol, domain, "edgar", "follow_up")
                and 0 <= t.due_at - one.at <= MINUTE
            ]
            if [t.state for t in fetched] != ["completed"]:
                yield f"{one.key}: {domain} were fetched {len(fetched)} times"
    for company in results:
        document = json.loads((q.data / "documents" / "earnings" / f"{company.symbol}.json").read_bytes())["data"]
        if company.accession not in [release["accession"] for release in document["releases"]]:
            yield f"{company.symbol}: its document lacks the release {company.accession}"
        if company.report and company.report.isoformat() not in [
            report["period_end"] for report in document["reports"]
        ]:
            yield f"{company.symbol}: its document lacks the report to {company.report}"


def follow_ups_ran_around_each_date(q: Quarter) -> Iterator[str]:
    hours = _hours(q)
    wanted: list[tuple[str, str]] = []
    for one in filed(q):
        for name, local in zip(("release", "release-again"), FIRST_LOOKS[hours[one.symbol]], strict=True):
            look = at(one.day, local)
            if one.known_at is None or look <= one.known_at:  # else it is not needed any more
                wanted.append((f"follow-up:{one.symbol}:earnings:{name}", when(look)))
        if one.known_at is not None and one.known_at < at(one.day + timedelta(days=1), time(9)):
            morning = when(at(one.day + timedelta(days=1), time(9)))
            wanted += [(f"follow-up:{one.symbol}:{d}:report", morning) for d in ("earnings", "fundamentals")]
    rows = [row for row in q.slots if row.schedule_id.startswith("follow-up:")]
    found = [(row.schedule_id.removesuffix("-of-release"), when(row.first)) for row in rows]
    yield from differ("follow-ups", wanted, found)
    yield from (f"{row.schedule_id}: {row.outcome}" for row in rows if row.outcome not in ("ran", "caught_up"))


def _hours(q: Quarter) -> dict[str, str]:
    """What part of the day the model tells of each company."""
    return {symbol: said["next_report_time"] for _, symbol, said in _stated(q)}


def _stated(q: Quarter) -> Iterator[tuple[Sent, str, dict[str, Any]]]:
    """What the model said of a company's earnings."""
    for one in q.sent:
        if one.method == "POST" and one.status == 200 and b'"eps_estimate"' in one.asked:
            said = json.loads(_text_of(json.loads(one.body)))
            yield one, said["ticker"], said


def _text_of(answer: dict[str, Any]) -> str:
    texts = [part["text"] for item in answer["output"] for part in item.get("content") or () if "text" in part]
    return str(texts[-1])


def follow_ups_are_closed_when_they_are_past(q: Quarter) -> Iterator[str]:
    query = "SELECT id, definition FROM schedule WHERE origin = 'follow_up' AND closed_at IS NULL"
    open_ones = q.rows(query)
    if not open_ones:
        yield "no follow-up waits for the next quarter"
    for schedule_id, definition in open_ones:
        moment = re.search(r"20\d\d-\d\d-\d\dT[\d:+-]+Z?", definition)
        if moment is None or datetime.fromisoformat(moment[0].replace("Z", "+00:00")).timestamp() * 1e6 <= q.end:
            yield f"{schedule_id} is past, and open: {definition}"


def surprises_are_told_once(q: Quarter) -> Iterator[str]:
    wanted: dict[str, set[str]] = {}
    of_the_past: set[str] = set()
    for sent, symbol, said in _stated(q):
        today = datetime.fromtimestamp(sent.at / 1e6, UTC).date()
        great = set()
        for row in said["reports"]:
            expected, earned = row["eps_estimate"], row["eps_diluted"]
            if not expected or earned is None or row["source"] is None:
                continue
            told_on = date.fromisoformat(row["reported_on"])
            if abs(earned - expected) / abs(expected) >= 0.05 and today - told_on <= timedelta(days=45):
                great.add(f"earnings.surprise:{symbol}:{row['kind']}:{row['period_end']}")
        of_the_past |= set() if symbol in wanted else great
        wanted.setdefault(symbol, set()).update(great)
    found = [one.key for one in q.outbox if one.event == "earnings.surprise"]
    yield from differ("surprises", set().union(*wanted.values()) - of_the_past, found)
    if not found:
        yield "no surprise was told, so that this proves nothing"


def stories_of_weight_are_told_once(q: Quarter) -> Iterator[str]:
    seen: dict[str, set[str]] = {}
    at_first: set[str] = set()
    wanted = []
    for one in q.sent:
        path = urlsplit(one.url).path
        if not path.startswith("/feeds/") or one.status != 200:
            continue
        symbol = path.removeprefix("/feeds/").removesuffix(".rss")
        told = _DRILL.findall(one.body.decode())
        wanted += [title for title, _ in told if symbol in seen and title not in seen[symbol]]
        at_first |= set() if symbol in seen else {title for title, _ in told}
        seen.setdefault(symbol, set()).update(title for title, _ in told)
    messages = [m for (m,) in q.rows("SELECT message FROM outbox WHERE event = 'news.high_impact'")]
    titles = [m.partition(": ")[2].rpartition(" (")[0] for m in messages]
    yield from differ("stories", wanted, [title for title in titles if title not in at_first])
    if len(wanted) < 5:
        yield f"{len(wanted)} stories of weight prove little"


def nothing_is_paid_twice(q: Quarter) -> Iterator[str]:
    asked: dict[bytes, list[int]] = defaultdict(list)
    for one in q.sent:
        if one.method == "POST" and one.status == 200 and not urlsplit(one.url).path.startswith("/alerts/"):
            asked[one.asked].append(one.at)
    lost = range(at(RESTORED_NIGHT, time(2)), at(RESTORED_NIGHT, time(14, 31)))
    if len(asked) < len(WATCHED):
        yield f"only {len(asked)} questions were asked"
    for times in asked.values():
        for before, again in pairwise(times):
            if again - before < 7 * DAY - 2 * HOUR and before not in lost:
                yield f"a question was paid at {when(before)} and at {when(again)}"


def the_wiring_does_not_loop(q: Quarter) -> Iterator[str]:
    made: Sequence[tuple[str | None, int]] = q.rows(
        "SELECT schedule_id, count(*) FROM run WHERE origin = 'follow_up' GROUP BY 1"
    )
    at_once = sum(count for schedule_id, count in made if schedule_id is None)
    planned = sum(count for schedule_id, count in made if schedule_id is not None)
    results = sum(one.event == "filing.results" for one in q.outbox)
    slots = sum(row.schedule_id.startswith("follow-up:") for row in q.slots)
    if at_once != 2 * results or planned != slots:
        yield f"{at_once} fetches follow from {results} filings, and {planned} from {slots} follow-ups"
    dates = Counter(one.symbol for one in q.outbox if one.event == "earnings.date_found")
    yield from (f"{symbol} has had {count} dates" for symbol, count in dates.items() if count > 6)
    answered = (one for one in q.sent if one.status == 200 and not one.url.startswith(f"{SANDBOX}alerts/"))
    asked = Counter((one.at // DAY, one.url, one.asked) for one in answered)
    yield from (f"{url} was asked {count} times on a day" for (_, url, _), count in asked.items() if count > 10)


def nothing_was_left_or_broken(q: Quarter) -> Iterator[str]:
    yield from (f"{t.symbol} {t.domain} {t.source} is {t.state}" for t in q.tasks if t.ended_at is None)
    bad = {
        "service.failed",
        "monitor.failed",
        "notice.failed",
        "strategy_log.failed",
        "backup.failed",
        "alert.given_up",
    }
    yield from (f"{event.name}: {event.message}" for _, event in q.listener.events if event.name in bad)
    if len(q.said("service.starting")) != 4:
        yield f"it was started {len(q.said('service.starting'))} times"


ORACLES = (
    every_opening_and_closing_once,
    every_notice_once_everywhere,
    every_alert_came_under_its_own_key,
    nothing_real_was_asked,
    every_slot_is_accounted_for,
    a_backup_every_night,
    every_breach_once,
    old_quotes_are_told_once,
    results_make_two_domains_due,
    follow_ups_ran_around_each_date,
    follow_ups_are_closed_when_they_are_past,
    surprises_are_told_once,
    stories_of_weight_are_told_once,
    nothing_is_paid_twice,
    the_wiring_does_not_loop,
    nothing_was_left_or_broken,
)
