"""Log lines on their way out: a bounded queue and a thread that renders and writes, so a stuck reader holds nobody."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import select
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TextIO, TypeAlias

import orjson

from scheduler_service.clock import MILLISECOND, SECOND, to_datetime, to_iso_seconds
from scheduler_service.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scheduler_service.clock import Instant, Micros

Scalar: TypeAlias = str | int | float | bool | None

QUEUE_LINES: Final = 10_000
DROPPED: Final = "log.dropped"

_BATCH: Final = 256
_COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


class Entry(NamedTuple):
    """One record, already redacted, escaped and capped."""

    at: Instant
    level: str
    event: str
    message: str
    fields: Mapping[str, Scalar]


Render: TypeAlias = "Callable[[Entry], str]"


class Output(Protocol):
    """Somewhere lines go. Raises ``OSError`` or ``ValueError`` when they could not."""

    def write(self, entries: Sequence[Entry]) -> None: ...

    def close(self) -> None: ...


class LogFile(Protocol):
    """What the configuration says of a log file: ``rotation`` in bytes, then a new one; ``retention`` of old ones."""

    @property
    def path(self) -> Path: ...
    @property
    def rotation(self) -> int: ...
    @property
    def retention(self) -> Micros: ...


def in_json(entry: Entry) -> str:
    """A flat object: ``time`` (UTC), ``level``, ``event``, ``message``, then the fields that apply."""
    head: dict[str, Scalar] = {
        "time": f"{to_iso_seconds(entry.at)[:-1]}.{entry.at % SECOND // MILLISECOND:03d}Z",
        "level": entry.level,
        "event": entry.event,
        "message": entry.message,
    }
    rest = {name: value for name, value in entry.fields.items() if name not in head}
    return orjson.dumps(head | rest).decode() + "\n"


def in_text(*, colour: bool) -> Render:
    """Local time, level and the sentence; a library's name before what it says, an error in one line after it."""

    def render(entry: Entry) -> str:
        level = f"{entry.level:<8}"
        if colour and entry.level in _COLOURS:
            level = f"\x1b[{_COLOURS[entry.level]}m{level}\x1b[0m"
        library, error = entry.fields.get("library"), entry.fields.get("error")
        sentence = f"{library}: {entry.message}" if library else entry.message
        when = to_datetime(entry.at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        return f"{when} {level} {sentence}" + (f" | {error}" if error else "") + "\n"

    return render


class LogWriter:
    """Takes entries from any thread without waiting, and writes them on its own."""

    def __init__(self, outputs: Sequence[Output], size: int = QUEUE_LINES) -> None:
        self._outputs = outputs
        self._queue: queue.Queue[Entry | None] = queue.Queue(size)
        self._accepted = self._handled = self._told = 0
        self.dropped = 0
        """Lines that found the queue full."""
        self.unwritten = 0
        """Lines an output would not take."""
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        try:
            self._queue.put_nowait(entry)
            self._accepted += 1
        except queue.Full:
            self.dropped += 1

    def stop(self, timeout: float) -> int:
        """Writes what waits, for about ``timeout`` seconds at most; returns how many lines were lost in all."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout)
            self._thread.join(timeout)
        return self.dropped + self.unwritten + self._accepted - self._handled

    def _run(self) -> None:
        batch: list[Entry | None] = []
        while None not in batch:
            batch = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _BATCH:
                    batch.append(self._queue.get_nowait())
            entries = [entry for entry in batch if entry is not None]
            self._write(entries + self._notice(entries))
            self._handled += len(entries)
        for output in self._outputs:
            with contextlib.suppress(OSError, ValueError):
                output.close()

    def _notice(self, entries: list[Entry]) -> list[Entry]:
        lost = self.dropped - self._told
        if not lost or not entries:
            return []
        self._told += lost
        message = f"{lost} log lines were dropped: the log was not read as fast as it was written"
        return [Entry(entries[-1].at, "WARNING", DROPPED, message, {"count": lost})]

    def _write(self, entries: list[Entry]) -> None:
        for output in self._outputs:
            try:
                output.write(entries)
            except Exception:  # a full disk, a closed stream: the service goes on, and so does this thread
                self.unwritten += len(entries)


class StreamOutput:
    """A stream, by its descriptor where it has one: a thread stuck in a write then holds no lock that the exit needs.

    A reader that went away (``| head -1``) silences the stream for good.
    """

    def __init__(self, stream: TextIO, render: Render) -> None:
        self._stream = stream
        self._render = render
        self._encoding = stream.encoding or "utf-8"
        self._descriptor: int | None = None
        self._silent = False
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
            self._descriptor = stream.fileno()

    def write(self, entries: Sequence[Entry]) -> None:
        if self._silent:
            return
        data = "".join(map(self._render, entries)).encode(self._encoding, "backslashreplace")
        try:
            if self._descriptor is None:
                self._stream.write(data.decode(self._encoding))
                self._stream.flush()
            else:
                _write_all(self._descriptor, data)
        except BrokenPipeError:
            self._silence()

    def close(self) -> None:
        """The stream belongs to the process."""

    def _silence(self) -> None:
        self._silent = True
        if self._descriptor is not None and self._stream is sys.stdout:
            # Or Python's own flush at exit would fail, and turn the exit code to 120.
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self._descriptor)


class FileOutput:
    """A file of mode 0600; when full it is renamed to ``name.20261123T143000123456Z.log`` and a new one begun."""

    def __init__(self, file: LogFile, render: Render) -> None:
        self._file = file
        self._path = Path(file.path)
        self._render = render
        self._torn = False  # the last write may have ended within a line
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._open()
            self._size = os.fstat(self._descriptor).st_size
        except OSError as error:
            raise ConfigurationError(
                [
                    Problem(
                        where="",
                        path="logging.file.path",
                        wrong=f"{self._path} cannot be written: {error.strerror}",
                        right="name a file in a directory this user may write to",
                    )
                ]
            ) from error

    def write(self, entries: Sequence[Entry]) -> None:
        data = "".join(map(self._render, entries)).encode()
        if self._size and self._size + len(data) > self._file.rotation:
            with contextlib.suppress(OSError):  # then the old file goes on growing
                self._rotate(entries[-1].at)
        if self._torn:
            data = b"\n" + data
        self._torn = True
        _write_all(self._descriptor, data)
        self._torn = False
        self._size += len(data)

    def close(self) -> None:
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _rotate(self, now: Instant) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._path.with_name(f"{self._path.stem}.{_stamp(now)}{self._path.suffix}"))
        full, self._descriptor, self._size = self._descriptor, self._open(), 0
        os.close(full)
        old = re.compile(rf"{re.escape(self._path.stem)}\.(\d{{8}}T\d{{12}}Z){re.escape(self._path.suffix)}")
        oldest = _stamp(now - self._file.retention)
        for sibling in self._path.parent.iterdir():
            match = old.fullmatch(sibling.name)
            if match and match[1] < oldest:
                sibling.unlink(missing_ok=True)


def _stamp(instant: Instant) -> str:
    return to_datetime(instant).strftime("%Y%m%dT%H%M%S%fZ")


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # whoever shares the terminal made it non-blocking
            select.select([], [descriptor], [])
