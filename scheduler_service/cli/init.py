"""``init``: a live configuration, a watchlist and a file for secrets, to fill in. It overwrites nothing."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import secrets
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from scheduler_service.cli.configuration import read_symbol
from scheduler_service.cli.figures import several
from scheduler_service.cli.terminal import line
from scheduler_service.clients.perplexity_client import EXPECTED_ANSWER, EXPECTED_SEARCH
from scheduler_service.settings.load import LOCAL_CONFIG
from scheduler_service.settings.units import format_usd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONFIG, WATCHLIST, SECRETS, IGNORED = "scheduler.yaml", "watchlist.csv", "scheduler.env", ".gitignore"
USD_A_DAY = 0.01018
"""At Perplexity for one stock, with the sources and schedules of the template: a test counts."""
FIRST_USD = 0.025

COMPANY_FEEDS = {
    "AAPL": "https://www.apple.com/newsroom/rss-feed.rss",
    "NVDA": "https://nvidianews.nvidia.com/releases.xml",
}
"""What these companies publish themselves."""
USE_FEEDS = "- {use: feeds, fresh_for: 1h}"

_TEMPLATES = Path(__file__).with_name("templates")
_FILL_IN = '    user_agent: null              # FILL IN, such as "Jane Doe jane.doe@example.com"'
_LONGEST_USER_AGENT = 200


class NewFile(NamedTuple):
    """A file to write: its name in the folder, its text, and who may read it."""

    name: str
    text: str
    mode: int = 0o644


def init(folder: Path, *, user_agent: str | None, symbols: str | None) -> int:
    """Raises ``click.UsageError`` where something stands in the way; then nothing is written."""
    files = new_files(user_agent, symbols)
    in_the_way = [folder / file.name for file in files if os.path.lexists(folder / file.name)]
    if in_the_way:
        there = ", ".join(map(str, in_the_way))
        raise click.UsageError(f"there already: {there}; nothing was written. Name another folder, or move it away")
    write_all(folder, files)
    _ignore(folder / IGNORED)
    for file in files:
        private = "  (only you can read it)" if file.mode == 0o600 else ""
        line(f"Written: {folder / file.name}{private}")
    line()
    for sentence in _next_steps(folder, files[0].text, files[1].text):
        line(sentence)
    return 0


def new_files(user_agent: str | None = None, symbols: str | None = None) -> tuple[NewFile, ...]:
    """The files for this user agent and these symbols, separated by commas. Raises ``click.UsageError``."""
    known = _template(WATCHLIST)
    watchlist = known if symbols is None else _watchlist(symbols, known)
    stocks = [row[0] for row in csv.reader(watchlist.splitlines()[1:])]
    return (
        NewFile(CONFIG, _configuration(user_agent, stocks)),
        NewFile(WATCHLIST, watchlist),
        NewFile(SECRETS, _template(SECRETS), 0o600),
    )


def write_all(folder: Path, files: Sequence[NewFile]) -> None:
    """Writes all files, each whole, or none. Raises ``OSError``, also where one of them is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    done: list[Path] = []
    try:
        for file in files:
            _write_new(folder / file.name, file)
            done.append(folder / file.name)
    except OSError:
        for path in done:
            with suppress(OSError):
                path.unlink()
        raise


def _write_new(path: Path, file: NewFile) -> None:
    temporary = path.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as opened:
            opened.write(file.text)
            opened.flush()
            os.fsync(opened.fileno())
        _name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _name(temporary: Path, path: Path) -> None:
    """Unlike a rename, a link never replaces what is there; some file systems have none."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.rename(path)


def _ignore(path: Path) -> None:
    """Keeps secrets and data out of a repository; an existing file is the user's own."""
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as opened:
        opened.write(f"/{SECRETS}\n/data/\n*.key\n")


def _next_steps(folder: Path, configuration: str, watchlist: str) -> list[str]:
    config, environment = folder / CONFIG, folder / SECRETS
    lines = configuration.splitlines()
    found_by_itself = config.absolute() == (Path.cwd() / LOCAL_CONFIG)
    command = "scheduler-service" if found_by_itself else f"scheduler-service -c {shlex.quote(str(config))}"
    shown = shlex.quote(str(environment if environment.is_absolute() else Path() / environment))
    source = shown if "/" in shown else f"./{shown}"
    steps = []
    if _FILL_IN in lines:
        steps.append(f"First say who asks EDGAR: fill in user_agent at {config}:{lines.index(_FILL_IN) + 1}.")
    elif "@" not in configuration.partition("user_agent:")[2].partition("\n")[0]:
        steps.append(f"EDGAR wants a name and an e-mail address, and may refuse without: see user_agent in {config}.")
    if nameless := [row["symbol"] for row in csv.DictReader(watchlist.splitlines()) if not row["name"]]:
        file, symbols = folder / WATCHLIST, ", ".join(nameless)
        steps.append(f"Write into {file} how the companies are called: {symbols}. Stories are recognised by that.")
    return [
        *steps,
        f"If you have a key of Perplexity, put it into {environment}. Then:",
        f"  set -a; . {source}; set +a",
        f"  {command} check",
        f"  {command} run",
    ]


def _configuration(user_agent: str | None, stocks: Sequence[str]) -> str:
    count = len(stocks)
    known = {symbol: url for symbol, url in COMPANY_FEEDS.items() if symbol in stocks}
    values = {
        "USER_AGENT": _user_agent(user_agent),
        "SEARCH": format_usd(EXPECTED_SEARCH.usd_micros / 1e6),
        "PRICE": format_usd(EXPECTED_ANSWER.usd_micros / 1e6),
        "STOCKS": several(count, "stock"),
        "COST": format_usd(count * USD_A_DAY),
        "FIRST": format_usd(count * FIRST_USD),
        "FEEDS": _feeds(known),
        "USE_FEEDS": f"      {USE_FEEDS}" if known else f"      # {USE_FEEDS}       # once providers.feeds names some",
    }
    text = _template("live.yaml")
    for name, value in values.items():
        text = text.replace(f"<<{name}>>", value)
    return text


def _feeds(known: Mapping[str, str]) -> str:
    """The section; all of it in comments where no company's own feed is known."""
    companies = "\n".join(f'    {symbol}: ["{url}"]' for symbol, url in (known or COMPANY_FEEDS).items())
    lines = _template("feeds.yaml").replace("<<COMPANIES>>", companies).splitlines()
    active = 2 + len(known) if known else 0
    off = "  # " if known else "# "
    return "\n".join(f"  {line}" if n < active else f"  {off}{line[len(off) - 2 :]}" for n, line in enumerate(lines))


def _user_agent(given: str | None) -> str:
    if given is None:
        return _FILL_IN
    text = given.strip()
    if not text or not text.isascii() or not text.isprintable() or len(text) > _LONGEST_USER_AGENT:
        wrong = 'write your name and e-mail address in plain letters, such as "Jane Doe jane.doe@example.com"'
        raise click.UsageError(f"--user-agent: {wrong}")
    return f"    user_agent: {json.dumps(text)}"


def _watchlist(symbols: str, known: str) -> str:
    """The rows of these symbols, with what the template knows of them."""
    header, *rows = csv.reader(known.splitlines())
    by_symbol = {row[0]: row for row in rows}
    wanted = dict.fromkeys(read_symbol(symbol) for symbol in symbols.split(",") if symbol.strip())
    if not wanted:
        raise click.UsageError("--symbols: name at least one, such as --symbols AAPL,NVDA")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(by_symbol.get(symbol, [symbol, *[""] * (len(header) - 1)]) for symbol in wanted)
    return out.getvalue()


def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
