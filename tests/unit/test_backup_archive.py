"""Archives: what goes in comes out, and what is not what a backup is is refused."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.backups import archive as reading
from scheduler_service.backups import manifest as manifests
from scheduler_service.backups.archive import ArchiveWriter, unpack, verify
from scheduler_service.backups.manifest import NAME, BackupRefused, Manifest, Member, Names, check_fits, check_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.backups.archive import Entry

FILES = {
    "data/ledger.sqlite": random.Random(1).randbytes(300_000),
    "data/documents/news/AAPL.json": b"{}",
    "data/documents/news/" + "%E2" * 60 + ".json": b"long",
    "configuration/1-scheduler.yaml": b"",
}


def manifest_of(members: Sequence[Member] = (), **changes: object) -> Manifest:
    plain: dict[str, object] = {
        "program_version": "0.1.0",
        "schema_version": 3,
        "mode": "live",
        "service": "stocks",
        "identity": "3fa2b1c0",
        "created_at": "2026-11-24T02:00:00Z",
        "members": tuple(members),
    }
    return Manifest.model_validate(plain | changes)


def archive(files: Mapping[str, bytes] = FILES) -> bytes:
    out = io.BytesIO()
    writer = ArchiveWriter(out)
    for name, body in files.items():
        writer.add(name, len(body), [body])
    writer.finish(manifest_of(writer.members))
    return out.getvalue()


def sealed(tar: bytes, *, level: int = 3) -> bytes:
    """A tar that somebody else has made, with a trailer that is right."""
    packed = zstandard.ZstdCompressor(level=level).compress(tar)
    return packed + struct.pack("<IIQ32s", 0x184D2A5B, 40, len(packed), hashlib.sha256(packed).digest())


def tar_of(
    *members: tuple[tarfile.TarInfo, bytes], manifest: bytes | None = None, form: int = tarfile.PAX_FORMAT
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for info, body in members:
            info.size = len(body)
            made.addfile(info, io.BytesIO(body))
        told = [Member(name=i.name, size=len(b), sha256=hashlib.sha256(b).hexdigest()) for i, b in members]
        body = manifest_of(told).model_dump_json().encode() if manifest is None else manifest
        last = tarfile.TarInfo(NAME)
        last.size = len(body)
        made.addfile(last, io.BytesIO(body))
    return out.getvalue()


def refused(body: bytes) -> str:
    with pytest.raises(BackupRefused) as caught:
        verify(io.BytesIO(body))
    return str(caught.value)


def test_what_went_in_comes_out() -> None:
    found: dict[str, bytes] = {}

    def take(entry: Entry) -> str:
        found[entry.name] = b"".join(entry.chunks)
        return hashlib.sha256(found[entry.name]).hexdigest()

    manifest = unpack(io.BytesIO(archive()), take, lambda size: None)
    assert found == FILES
    assert manifest.size == sum(map(len, FILES.values()))
    assert [member.name for member in manifest.members] == list(FILES)


def test_any_tar_can_read_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(zstandard.ZstdDecompressor().stream_reader(archive()).read())) as plain:
        assert plain.getnames() == [*FILES, NAME]


GOOD = archive()


@given(st.integers(0, len(GOOD) - 1))
def test_a_backup_that_was_cut_off_anywhere_is_refused(length: int) -> None:
    assert "cut off" in refused(GOOD[:length])


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_backup_with_one_other_byte_is_refused(place: int, change: int) -> None:
    refused(GOOD[:place] + bytes([GOOD[place] ^ change]) + GOOD[place + 1 :])


@given(st.binary(max_size=2_000))
def test_bytes_of_a_stranger_are_refused(body: bytes) -> None:
    refused(body)
    refused(sealed(body))


def test_something_behind_the_end_is_refused() -> None:
    assert refused(GOOD + b"more")
    tar = zstandard.ZstdDecompressor().stream_reader(GOOD).read()
    assert refused(sealed(tar + b"more")) == "something stands behind its end"
    assert verify(io.BytesIO(sealed(tar + bytes(10_240)))).members


@pytest.mark.parametrize(
    "name",
    [
        "../ledger.sqlite",
        "data/../../etc/passwd",
        "/data/ledger.sqlite",
        "data//documents/x",
        "data/./documents/x",
        "data/documents/../../x",
        "data\\documents\\x",
        "data/documents/c:x",
        "data/documents/a\nb",
        "data/documents/\x00",
        "data/documents/x.",
        "data/documents/\u00e9.json",
        "data/documents/" + "x" * 300,
        "data/lock",
        "data/control.sock",
        "data/jobs.sqlite",
        "data/http_token",
        "data/backups/x",
        "etc/passwd",
        "configuration/deep/x",
        "",
    ],
)
def test_a_name_that_has_no_place_in_a_backup_is_refused(name: str) -> None:
    with pytest.raises(BackupRefused):
        check_name(name)
    if name and "\0" not in name:
        assert refused(sealed(tar_of((tarfile.TarInfo(name), b"x"))))


@given(st.text(max_size=40).map(lambda text: f"data/documents/{text}"))
def test_a_name_that_is_taken_stays_inside(name: str) -> None:
    try:
        check_name(name)
    except BackupRefused:
        return
    assert not name.startswith("/")
    assert {"", ".", ".."}.isdisjoint(name.split("/"))
    assert name.isprintable()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("data/documents/a/x", "data/documents/a/x"),
        ("data/documents/a/x", "data/documents/a/X"),
        ("data/documents/a/x", "data/documents/A/y"),
        ("data/documents/a", "data/documents/a/x"),
        ("data/documents/a/x", "data/documents/a"),
    ],
)
def test_two_names_that_meet_on_some_disk_are_refused(one: str, other: str) -> None:
    names = Names()
    names.add(one)
    with pytest.raises(BackupRefused):
        names.add(other)
    assert refused(sealed(tar_of((tarfile.TarInfo(one), b"x"), (tarfile.TarInfo(other), b"y"))))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_what_is_not_a_plain_file_is_refused(kind: bytes) -> None:
    info = tarfile.TarInfo("data/documents/x/y")
    info.type, info.linkname = kind, "/etc/passwd"
    assert refused(sealed(tar_of((info, b"")))).endswith("is not a plain file")


def test_a_long_name_in_another_dialect_is_refused() -> None:
    info = tarfile.TarInfo("data/documents/" + "x" * 200)
    assert refused(sealed(tar_of((info, b"x"), form=tarfile.GNU_FORMAT))).endswith("is not a plain file")


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = tarfile.TarInfo("data/documents/news/bomb")
    body = sealed(tar_of((bomb, bytes(100_000_000))))
    assert verify(io.BytesIO(body)).size == 100_000_000  # as much as that a log of one repeated line may hold
    monkeypatch.setattr(reading, "MOST_UNPACKED", 64_000_000)
    assert refused(body) == "it unpacks to far more than a backup of its size"
    assert verify(io.BytesIO(body), most=200_000_000).size == 100_000_000
    with pytest.raises(BackupRefused):
        verify(io.BytesIO(archive()), most=300_000)


def test_sizes_that_cannot_be_are_refused() -> None:
    info = tarfile.TarInfo("data/documents/x/y")
    for size in (10**18, -1):
        info.size = size
        assert refused(sealed(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 10**9
    assert refused(sealed(header.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))) == "a header in it is too long"
    for digits in ("9" * 5_000, "-1", "1_0", "\u0663"):
        assert refused(sealed(pax(info, size=digits) + bytes(1024))).endswith("has no size")


def pax(info: tarfile.TarInfo, **keys: str) -> bytes:
    """A member's header with an extended one before it."""
    lines = b""
    for key, value in keys.items():
        line = f" {key}={value}\n".encode()
        length = next(n for n in range(len(line), len(line) + 9) if len(str(n)) + len(line) == n)
        lines += f"{length}".encode() + line
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(lines)
    plain = tarfile.TarInfo(info.name)
    return header.tobuf(tarfile.USTAR_FORMAT) + lines + bytes(-len(lines) % 512) + plain.tobuf(tarfile.USTAR_FORMAT)


def test_names_take_no_more_memory_than_those_of_a_backup(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is no name" in refused(sealed(tar_of((tarfile.TarInfo("data/documents/" + "x/" * 7 + "y"), b""))))
    monkeypatch.setattr(manifests, "MOST_NAME_CHARACTERS", 1_000)
    names = Names()
    for n in range(20):
        names.add(f"data/documents/{n}/x")
    with pytest.raises(BackupRefused, match="more names than a backup has"):
        names.add(f"data/documents/{'n' * 250}/x")
    monkeypatch.setattr(manifests, "MOST_MEMBERS", 2)
    assert "more names than a backup has" in refused(sealed(archive_of(3)))


def archive_of(members: int) -> bytes:
    return tar_of(*((tarfile.TarInfo(f"data/documents/x/{n}"), b"") for n in range(members)))


def test_a_manifest_is_no_longer_than_its_members_explain() -> None:
    padded = manifest_of().model_dump_json().encode() + b" " * 3_000_000
    assert refused(sealed(tar_of(manifest=padded))) == "its manifest is too long"


def test_the_manifest_is_believed_only_where_it_is_right() -> None:
    info = tarfile.TarInfo("data/documents/news/x")
    wrong = manifest_of([Member(name=info.name, size=1, sha256="0" * 64)])
    for body, said in (
        (b"{}", "its manifest cannot be read"),
        (b'{"format": 2, "new": 1}', "newer version (format 2"),
        (wrong.model_dump_json().encode(), "its members are not those of its manifest"),
        (manifest_of().model_dump_json().encode(), "its members are not those of its manifest"),
    ):
        assert said in refused(sealed(tar_of((info, b"x"), manifest=body)))


def test_a_backup_of_a_newer_version_or_another_mode_does_not_fit() -> None:
    check_fits(manifest_of(), mode="live", schema_version=3)
    with pytest.raises(
        BackupRefused, match=r"newer version \(0.1.0, schema 4; this one knows 3\); install that version"
    ):
        check_fits(manifest_of(schema_version=4), mode="live", schema_version=3)
    with pytest.raises(BackupRefused, match="it holds live data, and this configuration is sandbox"):
        check_fits(manifest_of(), mode="sandbox", schema_version=3)
