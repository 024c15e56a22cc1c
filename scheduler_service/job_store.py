"""APScheduler's SQL job store for one SQLite file in which anything may stand.

What a stored job would call is never called. Rows are read through an allow-list and compared with the one shape that
is written here; any other is set aside: kept, without a next run time, and reported.
"""

from __future__ import annotations

import io
import pickle
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, ClassVar

from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, JobLookupError
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.util import datetime_to_utc_timestamp
from loguru import logger
from sqlalchemy import QueuePool, create_engine, literal_column, select, update
from sqlalchemy.exc import SQLAlchemyError

from scheduler_service.clock import Instant, from_datetime, to_datetime
from scheduler_service.triggers import Trigger, restore_trigger, with_calendars
from scheduler_service.windows import Calendars

STORE_ERRORS = (SQLAlchemyError, sqlite3.Error, OSError, JobLookupError)
LOCK_WAIT = 0.1
"""Seconds; on the loop, so a locked store is tried again later rather than waited for."""
LARGEST_STATE = 64 * 1024

_CORRUPT = ("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_FORMAT", "SQLITE_ERROR")  # the last: tables that are not ours


def rung(schedule_id: str) -> None:
    """What stored jobs refer to, since APScheduler wants a function; the executor rings without calling it."""


def job_options(schedule_id: str) -> dict[str, Any]:
    """What all our jobs have in common: our policies decide on late and missed slots, never APScheduler's."""
    return {
        "id": schedule_id,
        "name": schedule_id,
        "args": (schedule_id,),
        "kwargs": {},
        "executor": "default",
        "misfire_grace_time": None,
        "coalesce": True,
        "max_instances": 1,
    }


class AlarmTrigger(BaseTrigger):
    """One of our triggers in APScheduler's shape; stored as its canonical text."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first slot from now on: the ledger counts the missed ones, and walking them would hold the loop.

        Never raises: a trigger that does, and is due first, starves all others.
        """
        try:
            due = self.trigger.next(from_datetime(max(previous_fire_time or now, now)))
            return to_datetime(due) if due is not None else None
        except Exception as error:
            logger.error("trigger {} failed, looked at again in an hour: {!r}", self.trigger, error)
            return now + timedelta(hours=1)

    def __getstate__(self) -> str:
        return self.trigger.canonical()

    def __setstate__(self, state: str) -> None:
        self.trigger = restore_trigger(state)


class _Unpickler(pickle.Unpickler):
    """Knows the four classes a stored job consists of, and imports nothing."""

    _KNOWN: ClassVar[Mapping[tuple[str, str], type]] = {
        ("datetime", "datetime"): datetime,
        ("datetime", "timedelta"): timedelta,
        ("datetime", "timezone"): timezone,
        (AlarmTrigger.__module__, "AlarmTrigger"): AlarmTrigger,
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return self._KNOWN[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} has no place in a job") from None


class JobStore(SQLAlchemyJobStore):
    """Mode 0600, one connection, WAL. Commits do not wait for the disk: the ledger knows better after a power cut.

    ``set_aside``: the ids of unreadable rows, and what is wrong with each. ``error``: why due jobs could not be read.
    """

    def __init__(self, path: Path, was_set_aside: Callable[[str, str], None], calendars: Calendars) -> None:
        self._path = path
        self._was_set_aside = was_set_aside
        self._calendars = calendars
        self.set_aside: dict[str, str] = {}
        self.error: Exception | None = None
        super().__init__(
            engine=create_engine(
                "sqlite://",
                creator=self._connect,
                poolclass=QueuePool,
                pool_size=1,
                max_overflow=0,
                pool_timeout=LOCK_WAIT,
            )
        )

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        BaseJobStore.start(self, scheduler, alias)  # without the table: ``open`` makes it, and may fail

    def open(self, now: Instant) -> Path | None:
        """Makes the file usable. Returns where a damaged one was moved to."""
        self.engine.dispose()
        moved = None
        if self._path.exists() and not self._is_sound():
            self.engine.dispose()
            suffix = f".damaged-{to_datetime(now):%Y%m%dT%H%M%S%fZ}"
            moved = self._path.with_name(self._path.name + suffix)
            for part in ("", "-wal", "-shm"):
                file = self._path.with_name(self._path.name + part)
                if file.exists():
                    file.replace(moved.with_name(moved.name + part))
        self._path.touch(mode=0o600)
        self._path.chmod(0o600)
        self.jobs_t.create(self.engine, checkfirst=True)
        return moved

    def get_due_jobs(self, now: datetime) -> list[Job]:
        try:
            return list(super().get_due_jobs(now))
        except Exception as error:
            self.error = error  # the scheduler logs it and goes on, so it is kept for whoever asks
            raise

    def lookup_job(self, job_id: str) -> Job | None:
        return next(iter(self._get_jobs(self.jobs_t.c.id == job_id)), None)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=LOCK_WAIT, check_same_thread=False)
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _is_sound(self) -> bool:
        if not self._path.is_file() or self._path.stat().st_size == 0:
            return False
        try:
            with self.engine.begin() as connection:
                if connection.exec_driver_sql("PRAGMA quick_check").scalar() != "ok":
                    return False
                self.jobs_t.create(connection, checkfirst=True)
                connection.execute(self._rows().limit(1)).all()
        except (SQLAlchemyError, sqlite3.Error) as error:
            if getattr(getattr(error, "orig", error), "sqlite_errorname", "").startswith(_CORRUPT):
                return False
            raise
        return True

    def _rows(self) -> Any:
        """All rows as SQLite holds them: a damaged one may hold any type in any column."""
        columns: list[Any] = [literal_column(name) for name in ("rowid", "id", "next_run_time", "job_state")]
        return select(*columns).select_from(self.jobs_t).order_by(self.jobs_t.c.next_run_time)

    def _get_jobs(self, *conditions: Any) -> list[Job]:
        """As the parent's, which deletes what it cannot read."""
        jobs: list[Job] = []
        found: dict[str, str] = {}
        waking: list[int] = []
        with self.engine.begin() as connection:
            for row in connection.execute(self._rows().where(*conditions)).all():
                try:
                    jobs.append(self._restore(row))
                except Exception as error:
                    found[str(row.id)] = str(error) or type(error).__name__
                    waking += [row.rowid] if row.next_run_time is not None else []
            if waking:
                quiet = update(self.jobs_t).where(literal_column("rowid").in_(waking)).values(next_run_time=None)
                connection.execute(quiet)
        known = self.set_aside
        self.set_aside = {**known, **found} if conditions else found
        for schedule_id in found.keys() - known.keys():
            self._was_set_aside(schedule_id, found[schedule_id])
        return jobs

    def _restore(self, row: Any) -> Job:
        job = self._reconstitute_job(row.job_state)
        if job.id != row.id or datetime_to_utc_timestamp(job.next_run_time) != row.next_run_time:
            raise ValueError("its columns and its state differ")  # by its column alone a job would be due for ever
        return job

    def _reconstitute_job(self, job_state: object) -> Job:
        if not isinstance(job_state, bytes) or len(job_state) > LARGEST_STATE:
            raise ValueError("its state is no job's")
        state = _Unpickler(io.BytesIO(job_state)).load()
        trigger, due = state.get("trigger"), state.get("next_run_time")
        ours = {"version": 1, "func": f"{__name__}:{rung.__name__}", **job_options(state.get("id"))}
        if {**ours, "trigger": trigger, "next_run_time": due} != state:
            raise ValueError("it was not written by this service")  # before __setstate__, which imports its function
        if not isinstance(trigger, AlarmTrigger) or not isinstance(due, datetime):
            raise ValueError("its trigger or its next run time is missing")
        from_datetime(due)  # raises for a time without a zone, as the next line does for a trigger without content
        state["trigger"] = AlarmTrigger(with_calendars(trigger.trigger, self._calendars))
        job = Job.__new__(Job)
        job.__setstate__(state)
        job._scheduler, job._jobstore_alias = self._scheduler, self._alias
        return job
