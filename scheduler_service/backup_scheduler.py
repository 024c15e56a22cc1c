"""When to back up: by a trigger, once for all the slots that were missed, and whenever a person says so."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from scheduler_service.backups.making import BackupFailed, Maker
from scheduler_service.clock import HOUR, MILLISECOND, SECOND, to_iso_seconds
from scheduler_service.errors import StoreError
from scheduler_service.models import Event, Notice
from scheduler_service.stores import notice_store
from scheduler_service.stores.snapshot import backup_state, note_backup_state
from scheduler_service.triggers import parse_trigger
from scheduler_service.windows import usual_hours

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scheduler_service.backups.making import Made, Progress
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.models import Publish
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection, Ledger
    from scheduler_service.triggers import Trigger
    from scheduler_service.windows import Calendars

LOOK_EVERY = 30.0
RETRY_AFTER = HOUR


class BackupState(NamedTuple):
    """What the ledger keeps: slots of the trigger so described are done up to ``cursor``; the last good backup."""

    trigger: str = ""
    cursor: int = 0
    made_at: int | None = None
    path: str | None = None
    size: int | None = None
    failing_since: int | None = None
    """None while they are made; a failure is told once, until one is made again."""


class BackupScheduler:
    """Backs up the directory of a running service. One backup at a time."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        clock: Clock,
        publish: Publish,
        calendars: Calendars = usual_hours,
        noticed: Callable[[], None] = lambda: None,
        patience: int = 1,
    ) -> None:
        """``noticed`` hears that something is to be told. With more ``patience`` it trusts that it is woken when one is
        due.
        """
        self._noticed = noticed
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._publish = publish
        self._calendars = calendars
        self._look_every = LOOK_EVERY * patience
        self._turn = asyncio.Lock()
        self._stopping = threading.Event()
        self._retry_at: Instant | None = None
        self._begun: set[asyncio.Task[Made]] = set()
        self._not_looked: str | None = None
        self._not_made: str | None = None

    @property
    def problem(self) -> str | None:
        """Why the last backup was not made, or why nobody knows whether one is due."""
        return self._not_made or self._not_looked

    @property
    def scheduled(self) -> bool:
        return self._settings.backup.trigger is not None

    async def run_forever(self) -> None:
        """Backs up when it is due. It never fails: a backup that was not made is told, and tried again in an hour."""
        while not self._stopping.is_set():
            try:
                await self.look()
                self._not_looked = None
            except StoreError as error:
                self._not_looked = f"no backup is made: {error}"
            except Exception as error:  # the service has other things to do than this
                await self._failed(f"no backup was made: {error!r}")
            await self._clock.sleep(self._rest(self._clock.now()))

    def _rest(self, now: Instant) -> float:
        """Seconds until the next one is due, or until another look at what a clock that is set has changed."""
        ahead = [at for at in (self.next_after(now), self._retry_at) if at is not None and at > now]
        return min([self._look_every, *((at - now) / SECOND for at in ahead)])

    async def look(self) -> None:
        """Makes the backup that is due, if one is. A slot of the time before the trigger was set is none."""
        trigger = self._trigger()
        if trigger is None:
            return
        now, known = self._clock.now(), await self.known()
        if known.trigger != trigger.canonical() or known.cursor > now:  # changed, or set by a clock that was wrong
            await self._note(known._replace(trigger=trigger.canonical(), cursor=now))
            return
        if self._retry_at is not None and self._retry_at - RETRY_AFTER <= now < self._retry_at:
            return
        due = trigger.last(known.cursor, now)
        if due is None:
            return
        try:
            await self.back_up()
        except BackupFailed:
            return
        await self._note((await self.known())._replace(cursor=due))

    async def back_up(self, tell: Callable[[Progress], None] = lambda progress: None, to: Path | None = None) -> Made:
        """Makes one now. ``tell`` is called on other threads. Raises ``BackupFailed``."""
        async with self._turn:
            started, now = self._clock.monotonic(), self._clock.now()
            pool = ThreadPoolExecutor(1, thread_name_prefix="backup")
            try:
                maker = Maker(
                    self._settings, self._ledger, now=now, tell=tell, stop=self._stopping.is_set, directory=to
                )
                made = await maker.make(pool)
                await self._note_made(made, now, usual=to is None)
            except (BackupFailed, StoreError) as error:
                if not self._stopping.is_set():
                    await self._failed(f"no backup was made: {error}", usual=to is None)
                raise error if isinstance(error, BackupFailed) else BackupFailed(str(error)) from error
            finally:
                pool.shutdown(wait=False)
            self._succeeded(made, self._clock.monotonic() - started)
            return made

    def begin(self, tell: Callable[[Progress], None], to: Path | None) -> asyncio.Task[Made]:
        """As ``back_up``, for whoever may stop listening: that does not stop it."""
        task = asyncio.create_task(self.back_up(tell, to), name="backup for a person")
        self._begun.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Made]) -> None:
        self._begun.discard(task)
        if not task.cancelled():
            task.exception()  # it was told when it was raised

    async def known(self) -> BackupState:
        """Raises ``StoreError``."""
        text = await self._ledger.read(backup_state)
        return BackupState() if text is None else BackupState(**json.loads(text))

    async def stop(self) -> None:
        """Breaks off what is under way, and waits until it has cleaned up."""
        self._stopping.set()
        async with self._turn:
            pass
        await asyncio.gather(*self._begun, return_exceptions=True)

    def next_after(self, now: Instant) -> Instant | None:
        """When the next one is due."""
        trigger = self._trigger()
        return None if trigger is None else trigger.next(now)

    def _trigger(self) -> Trigger | None:
        spec = self._settings.backup.trigger
        if spec is None:
            return None
        bare = {key: str(value) if isinstance(value, str) else value for key, value in spec.items()}
        return parse_trigger(bare, self._settings.service.timezone, self._calendars)

    async def _note(self, known: BackupState, notice: Notice | None = None) -> None:
        """With what is to be told, in one transaction."""

        def unit(conn: Connection) -> None:
            note_backup_state(conn, json.dumps(known._asdict()))
            if notice is not None:
                notice_store.add(conn, [notice], self._clock.now())

        await self._ledger.run(unit)
        if notice is not None:
            self._noticed()

    async def _note_made(self, made: Made, now: Instant, *, usual: bool) -> None:
        before = await self.known()
        known = before._replace(made_at=now, path=str(made.path.absolute()), size=made.size)
        if not usual or before.failing_since is None:
            await self._note(known)
            return
        said = f"backups are made again; they failed since {to_iso_seconds(before.failing_since)}"
        key = f"backup.works_again@{to_iso_seconds(now)}"
        notice = Notice(key, "backup.works_again", said, {"path": known.path}, level="INFO", is_alert=True)
        await self._note(known._replace(failing_since=None), notice)

    def _succeeded(self, made: Made, seconds: float) -> None:
        self._not_made, self._retry_at = None, None
        fields = {
            "path": str(made.path),
            "bytes": made.size,
            "members": len(made.manifest.members),
            "duration_ms": round(seconds * SECOND / MILLISECOND),
        }
        rest = f"; {len(made.removed)} older removed" if made.removed else ""
        rest += f"; left out: {'; '.join(made.manifest.left_out[:3])}" if made.manifest.left_out else ""
        message = f"backup made and read back: {made.path} ({made.size:,} bytes){rest}"
        self._publish(Event("backup.completed", message, fields))

    async def _failed(self, message: str, *, usual: bool = True) -> None:
        """Where a person named another directory, it is theirs to name a better one. The first of several failures is
        a notice, where the ledger can be written; the others are lines of the log.
        """
        now = self._clock.now()
        if usual:
            self._retry_at = now + RETRY_AFTER
            self._not_made = f"{message} (at {to_iso_seconds(now)}); it is tried again within the hour"
            with suppress(StoreError):
                known = await self.known()
                if known.failing_since is None or known.failing_since > now:  # the latter by a clock that was wrong
                    key = f"backup.failed@{to_iso_seconds(now)}"
                    told = Notice(key, "backup.failed", message, {"reason": message}, level="ERROR", is_alert=True)
                    await self._note(known._replace(failing_since=now), told)
                    return
        self._publish(Event("backup.failed", message, {"reason": message}, "ERROR"))
