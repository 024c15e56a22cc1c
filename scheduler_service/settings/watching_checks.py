"""What can be seen early of files, folders and addresses that are needed later. Mostly warnings: they may come yet."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scheduler_service.settings.providers import leaves_this_machine

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

    from scheduler_service.settings.configuration import Configuration
    from scheduler_service.settings.report import Report
    from scheduler_service.settings.watching import Backup


def check_watching(configuration: Configuration, data_dir: Path, report: Report) -> None:
    """Where data, backups and the portfolio lie, and whether what is told to others is told in the open."""
    if (blocking := _no_folder(data_dir.absolute())) is not None:
        report.wrong("service.data_dir", f"{blocking} is no folder", "give the path of a folder")
    portfolio = configuration.monitors.risk.portfolio
    if portfolio is not None and not portfolio.is_file():
        text = f"there is no file {portfolio}, so no risk is judged until there is one"
        report.warn("monitors.risk.portfolio", text)
    _check_backup(configuration.backup, report)
    told = {f"alerts.urls[{i}]": url for i, url in enumerate(configuration.alerts.urls)}
    for path, url in {**told, "monitors.health.ping_url": configuration.monitors.health.ping_url}.items():
        if url is not None and _is_in_the_open(url):
            report.warn(path, "http:// sends this to another machine unencrypted; write https:// where it has that")


def _check_backup(backup: Backup, report: Report) -> None:
    folder = backup.directory
    if folder is not None and not folder.is_dir() and not folder.absolute().parent.is_dir():
        text = f"there is no folder {folder.absolute().parent}, so no backup can be made; mount or make it"
        report.warn("backup.directory", text)
    if backup.keep.daily == 0 and backup.keep.weekly == 0:
        text = "of no day and of no week: only backups of the last 24 hours stay"
        report.warn("backup.keep", text)


def _no_folder(path: Path) -> Path | None:
    """What stands in its way: the nearest that exists of it and its parents, where that is no folder."""
    nearest = next((place for place in (path, *path.parents) if place.exists()), None)
    return nearest if nearest is not None and not nearest.is_dir() else None


def _is_in_the_open(url: SecretStr) -> bool:
    text = url.get_secret_value()
    return urlsplit(text).scheme == "http" and leaves_this_machine(text)
