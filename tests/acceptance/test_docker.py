"""The image and compose.yaml: what they promise as text, and under an engine (`make image-test`)."""

from __future__ import annotations

import os
import re
import secrets
import tomllib
from typing import TYPE_CHECKING, NamedTuple

import orjson
import pytest

from scheduler_service.clock import SECOND
from scheduler_service.settings.model import Http, Service
from scheduler_service.settings.units import parse_duration
from tests.acceptance.commands import ROOT
from tests.acceptance.containers import BASE, Container, built, compose, copy_context, docker, docker_must, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCKERFILE = (ROOT / "Dockerfile").read_text()
SECRET = "SEKRIT-7c1f0e5a9b"
ASK = """
import sys, urllib.error, urllib.request
path, *token = sys.argv[1:]
headers = {"Authorization": f"Bearer {token[0]}"} if token else {}
try:
    print(urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:8321{path}", headers=headers)).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
WHERE_IT_LISTENS = (
    "import json; print(json.dumps([w[1] for w in map(str.split, open('/proc/net/tcp')) if w[3] == '0A']))"
)
LOOPBACK = "0100007F:"
"""As /proc/net/tcp writes 127.0.0.1."""

pytestmark = pytest.mark.timeout(600)
WHY_NOT = why_not()
needs_engine = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


class Instruction(NamedTuple):
    name: str
    text: str


def instructions() -> list[Instruction]:
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]
    logical = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in logical]


def final_stage(name: str) -> list[str]:
    """The instructions of this name in the stage that becomes the image."""
    every = instructions()
    start = max(i for i, instruction in enumerate(every) if instruction.name == "FROM")
    return [instruction.text for instruction in every[start:] if instruction.name == name]


def test_the_base_is_pinned_by_digest_and_can_be_replaced() -> None:
    (arg,) = [text for name, text in instructions() if name == "ARG"]
    assert re.fullmatch(r"BASE=docker\.io/library/python:\d+\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", arg)
    assert [text for name, text in instructions() if name == "FROM"] == ["${BASE} AS build", "${BASE}"]


def test_everything_is_installed_by_hash_and_nothing_is_fetched_by_address() -> None:
    assert "ADD" not in {name for name, _ in instructions()}
    installs = [text for name, text in instructions() if name == "RUN" and "pip install" in text]
    assert ["--require-hashes -r runtime.txt" in text or "--no-index" in text for text in installs] == [True, True]
    assert not re.search(r"https?://|curl|wget|apt-get", DOCKERFILE)


def test_the_image_runs_as_a_user_of_its_own_and_writes_to_data_only() -> None:
    assert final_stage("USER") == ["10001:10001"]
    assert final_stage("VOLUME") == ["/data"]
    assert final_stage("STOPSIGNAL") == ["SIGTERM"]
    (environment,) = final_stage("ENV")
    assert "STATE_DIRECTORY=/data " in environment
    assert "SCHEDULER_HTTP__TOKEN_FILE=/data/" in environment
    assert final_stage("EXPOSE") == [str(Http().port)]
    (health,) = final_stage("HEALTHCHECK")
    assert health.endswith('CMD ["scheduler-service", "status", "--ready"]')


def test_no_secret_is_an_argument_or_a_variable_of_the_build() -> None:
    named = [text for name, text in instructions() if name in ("ARG", "ENV", "LABEL")]
    assert not re.search(r"(API_)?KEY|SECRET|PASSWORD|TOKEN(?!_FILE)", " ".join(named))


def test_the_label_tells_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'org.opencontainers.image.version="{version}"' in DOCKERFILE


def test_only_what_is_needed_reaches_the_build() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    copied = {word for name, text in instructions() if name == "COPY" and "--from" not in text for word in text.split()}
    assert {line[1:] for line in lines if line.startswith("!")} == copied - {"./"}


def test_compose_confines_the_service() -> None:
    service = compose()["services"]["scheduler"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["restart"] == "unless-stopped"
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert not {"privileged", "network_mode", "cap_add", "devices", "pid", "ipc"} & set(service)


def test_compose_publishes_the_port_to_this_machine_alone() -> None:
    port = Http().port
    assert compose()["services"]["scheduler"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_compose_waits_longer_than_the_service_drains() -> None:
    grace = parse_duration(compose()["services"]["scheduler"]["stop_grace_period"])
    assert grace >= Service().drain_timeout + 5 * SECOND


def test_compose_holds_no_secret_and_starts_without_any() -> None:
    service = compose()["services"]["scheduler"]
    assert "environment" not in service
    assert [entry["required"] for entry in service["env_file"]] == [False]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Built from a checkout with secrets and data lying about."""
    folder = tmp_path_factory.mktemp("checkout")
    copy_context(folder)
    for name in (".env", "config/scheduler.env", "data/http_token", "scheduler_service/__pycache__/x.pyc"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SECRET)
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


@needs_engine
def test_the_image_is_configured_as_promised(image: str) -> None:
    config = orjson.loads(docker_must("inspect", image, "--format", "{{json .Config}}"))
    assert (config["User"], config["Volumes"], config["WorkingDir"]) == ("10001:10001", {"/data": {}}, "/")
    assert (config["Entrypoint"], config["Cmd"], config["StopSignal"]) == (["scheduler-service"], ["run"], "SIGTERM")
    assert config["Healthcheck"]["Test"] == ["CMD", "scheduler-service", "status", "--ready"]


@needs_engine
def test_no_file_of_the_checkout_but_the_program_is_in_the_image(image: str, tmp_path: Path) -> None:
    docker_must("save", "--output", str(tmp_path / "image.tar"), image, seconds=120)
    assert SECRET.encode() not in (tmp_path / "image.tar").read_bytes()
    listed = docker_must("run", "--rm", "--network=none", "--entrypoint=ls", image, "/", "/data", "/config")
    assert "build" not in listed.split()


@needs_engine
def test_what_builds_is_not_in_the_image(image: str) -> None:
    script = "import importlib.util as u; print([m for m in ('pip', 'setuptools', 'hatchling') if u.find_spec(m)])"
    run = ("run", "--rm", "--network=none", "--entrypoint=/opt/scheduler-service/bin/python", image, "-c")
    assert docker_must(*run, script) == "[]\n"
    compiled = "import click as m, os; print(os.path.exists(m.__cached__))"
    assert docker_must(*run, compiled) == "True\n"


@needs_engine
def test_it_knows_certificate_authorities(image: str) -> None:
    script = "import ssl, os; paths = ssl.get_default_verify_paths(); print(len(os.listdir(paths.capath)) > 50)"
    entry = "--entrypoint=/opt/scheduler-service/bin/python"
    assert docker_must("run", "--rm", "--network=none", entry, image, "-c", script) == "True\n"


@needs_engine
def test_the_sandbox_runs_without_a_file_a_key_or_a_network(service: Container) -> None:
    service.until(lambda: service.logs().count("initial") >= 3, "the first fetches")
    for domain in ("news", "earnings", "fundamentals"):
        document = orjson.loads(service.said("cat", f"/data/documents/{domain}/AAPL.json").out)
        assert document["sandbox"] is True
        assert document["data"]
    assert "Traceback" not in service.logs()


@needs_engine
def test_it_is_confined(service: Container) -> None:
    status = dict(re.findall(r"^(\w+):\s*(.*)$", service.said("cat", "/proc/1/status").out, re.MULTILINE))
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split() == ["10001"] * 4
    for path in ("/x", "/opt/scheduler-service/x", "/config/x", "/etc/x", "/usr/x"):
        assert "Read-only file system" in service.said("touch", path).err
    private = service.said("find", "/data", "-perm", "/077", "-not", "-type", "s").out
    assert private == ""


@needs_engine
def test_the_port_is_open_to_who_has_the_token_and_health_to_everyone(service: Container) -> None:
    def answer(*arguments: str) -> str:
        return service.said("python", "-c", ASK, *arguments).out.strip()

    token = service.said("cat", "/data/http_token").out.strip()
    assert (answer("/healthz"), answer("/readyz"), answer("/readyz", "x" * 64)) == ("200", "401", "401")
    assert answer("/readyz", token) == "200"
    listens = orjson.loads(service.said("python", "-c", WHERE_IT_LISTENS).out)
    assert [address for address in listens if not address.startswith(LOOPBACK)] == [f"00000000:{Http().port:04X}"]
    assert token not in service.logs()


@needs_engine
def test_a_service_that_hangs_is_unhealthy_and_one_that_goes_on_is_well_again(service: Container) -> None:
    (pid,) = re.findall(r", pid (\d+):", service.logs())
    assert service.said("sh", "-c", f"kill -STOP {pid}").code == 0
    try:
        service.until(lambda: service.health() == "unhealthy", "the health check to see that it hangs")
    finally:
        service.said("sh", "-c", f"kill -CONT {pid}")
    service.until(lambda: service.health() == "healthy", "its recovery")


@needs_engine
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


@needs_engine
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


@needs_engine
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


@needs_engine
@pytest.mark.skipif(bool(os.environ.get(BASE)), reason=f"{BASE} names another base")
def test_the_pinned_base_has_the_python_it_says(image: str) -> None:
    said = docker_must("run", "--rm", "--network=none", "--entrypoint=python3", image, "--version")
    assert f"python:{said.split()[1]}-slim" in DOCKERFILE
