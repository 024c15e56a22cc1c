"""The image where there is no container engine: the same Dockerfile, built by buildah and run by bubblewrap."""

from __future__ import annotations

import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.image_promises import (
    SECRET,
    is_configured,
    is_confined,
    lay_checkout,
    opens_its_port_to_who_has_the_token,
    runs_the_sandbox,
    until,
)
from tests.acceptance.image_without_engine import Box, CannotHere, Image, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if (why := why_not()) is not None:
    pytest.skip(why, allow_module_level=True)
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    checkout, store = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("store")
    lay_checkout(checkout)
    try:
        yield Image(store, checkout)
    except CannotHere as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(store)


@pytest.fixture(scope="module")
def service(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    box = Box(image, tmp_path_factory.mktemp("sandbox") / "data")
    try:
        until(box.is_healthy, "health", box.logs)
        yield box
    finally:
        box.remove()


def test_the_image_is_configured_as_promised(image: Image) -> None:
    is_configured(image.config)
    (data,) = image.root.glob("data")
    assert (data.stat().st_uid, data.stat().st_gid, data.stat().st_mode & 0o777) == (10001, 10001, 0o700)


def test_no_file_of_the_checkout_but_the_program_is_in_the_image(image: Image) -> None:
    searched = subprocess.run(
        ["grep", "--recursive", "--files-with-matches", "--binary", SECRET, image.root],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (searched.stdout, searched.returncode) == ("", 1)
    assert SECRET not in str(image.history)
    assert {path.name for path in image.root.iterdir()} & {"build", "run"} == {"run"}
    assert not [
        *(image.root / "run").rglob("*.c*"),
        *(image.root / "etc").glob("pip*"),
        *(image.root / "mnt").iterdir(),
    ]


def test_the_sandbox_runs_without_a_file_a_key_or_a_network(service: Box) -> None:
    runs_the_sandbox(service)


def test_it_is_confined(service: Box) -> None:
    is_confined(service)


def test_the_port_is_open_to_who_has_the_token_and_health_to_everyone(service: Box) -> None:
    opens_its_port_to_who_has_the_token(service)


def test_what_builds_is_not_in_the_image(service: Box) -> None:
    script = "import importlib.util as u; print([m for m in ('pip', 'setuptools', 'hatchling') if u.find_spec(m)])"
    assert service.said("python", "-c", script).out == "[]\n"
    compiled = "import click as m, os; print(os.path.exists(m.__cached__))"
    assert service.said("python", "-c", compiled).out == "True\n"


def test_a_stop_drains_and_the_next_start_goes_on_where_it_was(image: Image, tmp_path: Path) -> None:
    for number, code in ((signal.SIGTERM, 0), (signal.SIGKILL, 128 + signal.SIGKILL), (signal.SIGTERM, 0)):
        box = Box(image, tmp_path / "data")
        try:
            until(box.is_healthy, f"health before {number.name}", box.logs)
            assert box.ended_by(number) == code, box.logs()
        finally:
            box.remove()
    assert box.logs().count("stopped after") == 2
    assert "Traceback" not in box.logs()
