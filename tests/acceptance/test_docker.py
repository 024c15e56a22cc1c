"""The image and compose.yaml: what they promise as text. `make image-test` looks whether it is so."""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple

from scheduler_service.clock import SECOND
from scheduler_service.settings.model import Http, Service
from scheduler_service.settings.units import parse_duration
from tests.acceptance.commands import ROOT
from tests.acceptance.containers import compose

DOCKERFILE = (ROOT / "Dockerfile").read_text()


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
