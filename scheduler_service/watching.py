"""What notices, tells and remembers beside the fetching: follow-ups, the strategy log, what is told of it, backups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.backup_scheduler import BackupScheduler
from scheduler_service.events.event_handler import reactions
from scheduler_service.following_up import FollowUps
from scheduler_service.noticing import NoticeReader

if TYPE_CHECKING:
    from scheduler_service.engine import Engine
    from scheduler_service.initialisation import OwnedTasks


class Watching:
    """The parts that watch, wired to one engine."""

    def __init__(self, engine: Engine, patience: int = 1) -> None:
        self._follow_ups = FollowUps(engine.ledger, engine.processors, engine.dispatcher, engine.clock)
        self._notices = NoticeReader(
            ledger=engine.ledger,
            log=engine.strategy_log(),
            react=reactions(fetch_again=self._follow_ups.fetch_again, renew_follow_ups=self._follow_ups.renew),
            queue=lambda conn, rows, now: None,
            clock=engine.clock,
            publish=engine.publish,
            patience=patience,
        )
        engine.noticed = self._notices.notify
        self.backups = BackupScheduler(
            engine.settings, engine.ledger, engine.clock, engine.publish, engine.calendars.calendar
        )

    async def plan_follow_ups(self) -> None:
        """Those that the documents want, after a start or a change of configuration."""
        await self._follow_ups.renew_all()

    def start(self, owned: OwnedTasks) -> None:
        owned.start("notices", self._notices.read_forever())
        if self.backups.scheduled:
            owned.start("backups", self.backups.run_forever())

    @property
    def problem(self) -> str | None:
        """What of it does not work at the moment."""
        return self._notices.problem or self.backups.problem
