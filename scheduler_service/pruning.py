"""What is kept for so long and no longer: history, answers as they came, what was noticed. Once a day, and when a
person says so.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from scheduler_service.clock import DAY, MINUTE, SECOND, SystemClock
from scheduler_service.errors import StoreError
from scheduler_service.models import Event
from scheduler_service.stopped import stopped_directory
from scheduler_service.stores import pruning
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.pruning import CutOff
from scheduler_service.stores.raw_store import RawFiles
from scheduler_service.web.views import PruneReport

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.models import Publish
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.pruning import InFiles

AFTER_A_START = 10 * MINUTE
ANSWERS_PER_SLICE = 100


class Pruner:
    """Of one data directory. Cut off anywhere it can begin anew: rows go first, then files that no row names."""

    def __init__(self, settings: Settings, ledger: Ledger, raw: RawFiles, clock: Clock, publish: Publish) -> None:
        self._settings = settings
        self._ledger = ledger
        self._raw = raw
        self._clock = clock
        self._publish = publish
        self.problem: str | None = None
        """Why the last time not all of it could be done."""

    async def prune_forever(self) -> None:
        """A while after the start, and then every day."""
        await self._clock.sleep(AFTER_A_START / SECOND)
        while True:
            try:
                await self.prune()
                self.problem = None
            except (StoreError, OSError) as error:
                self.problem = f"what is too old could not be removed: {error}"
                self._publish(Event("history.not_pruned", self.problem, {}, "ERROR"))
            await self._clock.sleep(DAY / SECOND)

    async def prune(self) -> PruneReport:
        """Raises ``StoreError`` or ``OSError``; what is gone until then is gone."""
        before = cut_off(self._settings, self._clock.now())
        rows = dict.fromkeys(pruning.KINDS, 0)
        for kind in pruning.KINDS:
            while gone := await self._ledger.run(partial(pruning.remove_old, kind=kind, before=before)):
                rows[kind] += gone
        sizes = await self._raw.sizes()
        surplus = surplus_of(
            sizes, await self._ledger.read(pruning.answers_in_files), before, self._settings.retention.raw_size
        )
        for start in range(0, len(surplus), ANSWERS_PER_SLICE):
            some = surplus[start : start + ANSWERS_PER_SLICE]
            rows["answers"] += await self._ledger.run(partial(pruning.drop_answers, calls=some))
        named = (await self._ledger.read(pruning.answers_in_files)).named
        await self._raw.remove(sizes.keys() - named)
        report = report_of(rows, sizes, sizes.keys() - named)
        if report.tasks or report.files or report.notices:
            self._publish(Event("history.pruned", f"removed, as too old: {report.message}"))
        return report

    async def foretell(self) -> PruneReport:
        """What ``prune`` would do now; nothing is done."""
        before = cut_off(self._settings, self._clock.now())
        sizes = await self._raw.sizes()
        rows = await self._ledger.read(partial(pruning.count_old, before=before))
        in_files = await self._ledger.read(pruning.answers_in_files)
        surplus = surplus_of(sizes, in_files, before, self._settings.retention.raw_size)
        aged = {call_id for call_id, at in in_files.spare.items() if at < before.raw}
        rows["answers"] += len(set(surplus) - aged)
        return report_of(rows, sizes, (sizes.keys() - in_files.named) | (sizes.keys() & {*surplus, *aged}))


async def prune_stopped(settings: Settings, *, dry_run: bool) -> PruneReport:
    """Of a directory in which nothing runs; a dry run only looks, also beside the running service.

    Raises ``AlreadyRunning``, ``DataDirectoryError``, ``StoreError`` or ``OSError``.
    """
    clock = SystemClock()
    folder = DataDirectory(settings.service.data_dir).raw
    with ThreadPoolExecutor(1, thread_name_prefix="disk") as pool:
        raw = RawFiles(folder, pool)
        if not dry_run:
            async with stopped_directory(settings) as ledger:
                return await Pruner(settings, ledger, raw, clock, _unheard).prune()
        ledger = Ledger(DataDirectory(settings.service.data_dir).ledger)
        try:
            await ledger.open_query_only()
            return await Pruner(settings, ledger, raw, clock, _unheard).foretell()
        finally:
            await ledger.close()


def cut_off(settings: Settings, now: Instant) -> CutOff:
    """What was noticed stays for a day at least, and while its cool-down looks back at it."""
    history = settings.retention.history
    noticed = max(history, settings.alerts.cool_down, DAY)
    return CutOff(history=now - history, raw=now - settings.retention.raw, noticed=now - noticed)


def surplus_of(sizes: Mapping[int, int], in_files: InFiles, before: CutOff, most: int) -> list[int]:
    """Calls whose answers go, the oldest first, so that the files that stay take at most ``most`` bytes, or what is
    still needed.
    """
    staying = sum(size for call_id, size in sizes.items() if call_id in in_files.named)
    surplus = []
    for call_id, fetched_at in in_files.spare.items():
        if staying <= most and fetched_at >= before.raw:
            continue
        surplus.append(call_id)
        staying -= sizes.get(call_id, 0)
    return surplus


def report_of(rows: Mapping[str, int], sizes: Mapping[int, int], files: Collection[int]) -> PruneReport:
    """``rows``: how many of each kind; ``files``: the calls whose answers' files go."""
    size = sum(sizes[call_id] for call_id in files)
    parts = [_several(count, kind) for kind, count in rows.items() if count]
    parts += [f"{_several(len(files), 'files')} of {size:,} bytes"] if files else []
    return PruneReport(message=", ".join(parts) or "nothing", files=len(files), bytes=size, **rows)


def _several(count: int, what: str) -> str:
    one = f"{what.removesuffix('ies')}y" if what.endswith("ies") else what.removesuffix("s")
    return f"{count:,} {one if count == 1 else what}"


def _unheard(event: Event) -> None:
    del event
