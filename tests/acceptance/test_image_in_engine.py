"""The image under a container engine, run with what compose.yaml says."""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.acceptance.commands import ROOT
from tests.acceptance.containers import BASE, Container, built, docker, docker_must, has_base, why_not
from tests.acceptance.image_promises import (
    SECRET,
    is_configured,
    is_confined,
    lay_checkout,
    opens_its_port_to_who_has_the_token,
    runs_the_sandbox,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if (why := why_not()) is not None:
    pytest.skip(why, allow_module_level=True)
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not has_base():
        pytest.skip(f"the engine cannot get the base of the image; {BASE} names another")
    folder = tmp_path_factory.mktemp("checkout")
    lay_checkout(folder)
    with built(folder) as tag:
        yield tag


@pytest.fixture(scope="module")
def service(image: str) -> Iterator[Container]:
    """The sandbox, as compose.yaml runs it."""
    container = Container(image)
    try:
        container.until(lambda: container.health() == "healthy", "health")
        yield container
    finally:
        container.remove()


def test_the_image_is_configured_as_promised(image: str) -> None:
    is_configured(orjson.loads(docker_must("inspect", image, "--format", "{{json .Config}}")))


def test_no_file_of_the_checkout_but_the_program_is_in_the_image(image: str, tmp_path: Path) -> None:
    docker_must("save", "--output", str(tmp_path / "image.tar"), image, seconds=120)
    assert SECRET.encode() not in (tmp_path / "image.tar").read_bytes()
    listed = docker_must("run", "--rm", "--network=none", "--entrypoint=ls", image, "/", "/data", "/config")
    assert "build" not in listed.split()


def test_what_builds_is_not_in_the_image(image: str) -> None:
    script = "import importlib.util as u; print([m for m in ('pip', 'setuptools', 'hatchling') if u.find_spec(m)])"
    run = ("run", "--rm", "--network=none", "--entrypoint=/opt/scheduler-service/bin/python", image, "-c")
    assert docker_must(*run, script) == "[]\n"
    compiled = "import click as m, os; print(os.path.exists(m.__cached__))"
    assert docker_must(*run, compiled) == "True\n"


def test_it_knows_certificate_authorities(image: str) -> None:
    script = "import ssl, os; paths = ssl.get_default_verify_paths(); print(len(os.listdir(paths.capath)) > 50)"
    entry = "--entrypoint=/opt/scheduler-service/bin/python"
    assert docker_must("run", "--rm", "--network=none", entry, image, "-c", script) == "True\n"


def test_the_sandbox_runs_without_a_file_a_key_or_a_network(service: Container) -> None:
    runs_the_sandbox(service)


def test_it_is_confined(service: Container) -> None:
    is_confined(service)


def test_the_port_is_open_to_who_has_the_token_and_health_to_everyone(service: Container) -> None:
    opens_its_port_to_who_has_the_token(service)


def test_a_service_that_hangs_is_unhealthy_and_one_that_goes_on_is_well_again(service: Container) -> None:
    (pid,) = re.findall(r", pid (\d+):", service.logs())
    assert service.said("sh", "-c", f"kill -STOP {pid}").code == 0
    try:
        service.until(lambda: service.health() == "unhealthy", "the health check to see that it hangs")
    finally:
        service.said("sh", "-c", f"kill -CONT {pid}")
    service.until(lambda: service.health() == "healthy", "its recovery")


def test_a_stop_drains_and_the_next_start_goes_on_where_it_was(image: str) -> None:
    container = Container(image)
    try:
        container.until(lambda: container.health() == "healthy", "health")
        docker_must("stop", container.name)
        assert container.state()["ExitCode"] == 0
        assert "stopped after" in container.logs()
        docker_must("start", container.name)
        container.until(lambda: container.health() == "healthy", "health after a stop")
        docker_must("kill", container.name)
        docker_must("start", container.name)
        container.until(lambda: container.health() == "healthy", "health after a kill")
        assert "Traceback" not in container.logs()
    finally:
        container.remove()


@pytest.fixture
def volume() -> Iterator[str]:
    name = f"scheduler-test-{secrets.token_hex(4)}"
    docker_must("volume", "create", name)
    yield name
    docker("volume", "rm", name)


def test_going_live_takes_init_and_a_volume_without_sandbox_data(image: str, volume: str, tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    once = ("run", "--rm", "--network=none", "--read-only")
    used = ("--volume", f"{volume}:/data")
    assert "updated" in docker_must(*once, *used, image, "fetch", "earnings", "ACMEX")
    mine = ("--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{live}:/config")
    docker_must(*once, *mine, image, "init", "/config", "--user-agent", "Jane Doe jane.doe@example.com")
    config = ("--volume", f"{live}:/config:ro")
    said = docker(*once, *config, image, "check")
    assert (said.code, "/config/scheduler.yaml" in said.err) == (0, True), said
    assert "Data: /data" in said.out
    for command in ("check", "run"):
        refused = docker(*once, *config, *used, image, command)
        assert refused.code in (1, 2)
        assert "/data holds sandbox data, and this configuration is live" in refused.out + refused.err


def test_a_key_in_a_mounted_file_is_found_and_not_shown(image: str, tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    (live / "scheduler.yaml").write_text(
        "watchlist: [AAPL]\ndomains: {news: {sources: [perplexity]}}\n"
        "schedules: [{id: news, domain: news, symbols: all, trigger: {every: 12h}}]\n"
    )
    key = tmp_path / "key"
    key.write_text(f"pplx-{SECRET}\n")
    for path in (tmp_path, live, live / "scheduler.yaml", key):
        path.chmod(0o755 if path.is_dir() else 0o644)
    mounts = ("--volume", f"{live}:/config:ro", "--volume", f"{key}:/run/secrets/perplexity_api_key:ro")
    variable = ("--env", "PERPLEXITY_API_KEY_FILE=/run/secrets/perplexity_api_key")
    said = docker("run", "--rm", "--network=none", "--read-only", *mounts, *variable, image, "check")
    assert said.code == 0, said
    assert "perplexity is off" not in said.out + said.err
    assert SECRET not in said.out + said.err


@pytest.mark.skipif(bool(os.environ.get(BASE)), reason=f"{BASE} names another base")
def test_the_pinned_base_has_the_python_it_says(image: str) -> None:
    said = docker_must("run", "--rm", "--network=none", "--entrypoint=python3", image, "--version")
    assert f"python:{said.split()[1]}-slim" in (ROOT / "Dockerfile").read_text()
