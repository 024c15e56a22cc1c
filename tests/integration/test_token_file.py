"""The token of the TCP port: made in the data directory, read anywhere else; and what a health check asks."""

from __future__ import annotations

import json
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from scheduler_service.errors import SchedulerServiceError
from scheduler_service.redaction import redact
from scheduler_service.web.server import WebServer
from scheduler_service.web.token import token_of
from scheduler_service.web.views import Readiness
from tests.integration.test_web import STARTING, FakeFacade, get, run
from tests.unit.settings_support import load_text, problems_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WORD = "0123456789abcdef0123"


@asynccontextmanager
async def serving(facade: FakeFacade, data_dir: Path, token_file: Path | None = None) -> AsyncIterator[WebServer]:
    socket = data_dir / "control.sock"
    server = WebServer(facade, host="127.0.0.1", port=0, socket_path=socket, token_file=token_file)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_a_token_that_is_missing_in_the_data_directory_is_made_and_then_kept(tmp_path: Path) -> None:
    path = tmp_path / "http_token"
    async with serving(FakeFacade(), tmp_path, path) as server:
        token = path.read_text().strip()
        assert len(token) == 64
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await get(server, "/healthz"))[0] == 200
        assert (await get(server, "/readyz"))[0] == 401
        assert (await get(server, "/readyz", Authorization=f"Bearer {token}"))[0] == 200
    async with serving(FakeFacade(), tmp_path, path) as server:
        assert (await get(server, "/readyz", Authorization=f"Bearer {token}"))[0] == 200
    assert token not in redact(f"it is {token}")


async def test_two_data_directories_get_two_tokens(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    assert len({await token_of(folder / "token", folder) for folder in folders}) == 2


async def test_a_token_is_never_made_outside_the_data_directory(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    for path in (tmp_path / "token", data_dir / "documents" / "token", data_dir / ".." / "token"):
        with pytest.raises(SchedulerServiceError, match="cannot be read"):
            await token_of(path, data_dir)
        assert not path.exists()


async def test_a_token_that_somebody_wrote_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{WORD}\n")
    assert await token_of(path, tmp_path) == WORD
    path.write_text("")
    with pytest.raises(SchedulerServiceError, match="holds 0 characters"):
        await token_of(path, tmp_path)
    assert path.read_text() == ""


async def test_a_token_that_cannot_be_made_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_: object) -> list[OSError]:
        return [OSError(28, "No space left on device")]

    monkeypatch.setattr("scheduler_service.web.token.write_files", full)
    with pytest.raises(SchedulerServiceError, match=r"token cannot be made: No space left on device$"):
        await token_of(tmp_path / "token", tmp_path)


def test_a_token_file_may_be_missing_in_the_data_directory_and_nowhere_else(tmp_path: Path) -> None:
    text = "watchlist: [A]\nservice: {{data_dir: data}}\nhttp: {{host: 0.0.0.0, token_file: {}}}\n"
    assert load_text(tmp_path, text.format("data/http_token")).http.token_file == tmp_path / "data" / "http_token"
    for elsewhere in ("token", "data/documents/token", "data/../token"):
        (problem,) = problems_of(tmp_path, text.format(elsewhere))
        assert "http.token_file: there is no file" in problem
    environ = {"STATE_DIRECTORY": str(tmp_path / "state"), "SCHEDULER_HTTP__TOKEN_FILE": str(tmp_path / "state/t")}
    assert load_text(tmp_path, "watchlist: [A]\nhttp: {host: 0.0.0.0}\n", environ)


async def test_status_ready_is_what_a_health_check_asks(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"service: {{data_dir: {tmp_path}}}\nproviders: {{sandbox: {{enabled: true}}}}\nwatchlist: [A]\n")
    facade = FakeFacade()
    assert await run(config, "status", "--ready") == (
        3,
        "",
        f"no service runs on {tmp_path}; start one: scheduler-service run\n",
    )
    async with serving(facade, tmp_path):
        facade.problems = ("the disk is full",)
        assert await run(config, "status", "--ready") == (0, "ready\n", "")
        facade.ready = STARTING
        assert await run(config, "status", "--ready") == (1, "starting: waiting for: workers\n", "")
        code, out, _ = await run(config, "status", "--ready", "--json")
        assert (code, Readiness.model_validate(json.loads(out))) == (1, STARTING)


async def test_a_health_check_does_not_mind_a_configuration_that_is_being_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "c.yaml"
    facade = FakeFacade()
    (tmp_path / "data").mkdir()
    async with serving(facade, tmp_path / "data"):
        config.write_text("watchlist: [A\nproviders: {sandbox: {enabled: tr")
        code, out, err = await run(config, "status", "--ready")
        assert (code, out) == (0, "ready\n")
        assert err.startswith(f"{config}:2:10: this is not YAML")
        assert (await run(config, "status"))[0] == 0
        config.write_text("watchlist: [A]\nhttp: {port: eighty}\n")
        assert await run(config, "status", "--ready") == (0, "ready\n", "")
        facade.ready = STARTING
        assert (await run(config, "status", "--ready"))[0] == 1
        facade.ready = FakeFacade().ready
    async with serving(facade, tmp_path):
        config.write_text("watchlist: [A")
        for variable in ("STATE_DIRECTORY", "SCHEDULER_SERVICE__DATA_DIR"):
            with monkeypatch.context() as environment:
                environment.setenv(variable, str(tmp_path))
                assert (await run(config, "status", "--ready"))[0] == 0
        config.write_text(f"service: {{data_dir: {tmp_path}, name: 7}}\nwatchlist: nothing\n")
        assert await run(config, "status", "--ready") == (0, "ready\n", "")


async def test_a_reload_after_a_change_of_the_data_directory_says_where_the_service_is(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("service: {data_dir: new}\nproviders: {sandbox: {enabled: true}}\nwatchlist: [A]\n")
    hint = "service.data_dir is read at the start only: after a change of it, restart the service"
    nobody = f"no service runs on {tmp_path}/new; start one: scheduler-service run"
    assert await run(config, "reload") == (3, "", f"{nobody} ({hint})\n")
    (tmp_path / "data").mkdir()
    facade = FakeFacade()
    async with serving(facade, tmp_path / "data"):
        there = (await facade.status()).data_dir
        assert await run(config, "reload") == (3, "", f"{nobody} (one runs on {there}; {hint})\n")
