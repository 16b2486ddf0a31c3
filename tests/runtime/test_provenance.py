"""Versions and the git commit, for the record of a result."""

import subprocess
import time
from importlib import metadata
from pathlib import Path

import pytest

from efface.runtime.provenance import efface_version, git_state, versions


def test_versions_are_text() -> None:
    found = versions()
    assert set(found) == {"efface", "python", "torch", "numpy", "scipy", "platform"}
    assert all(type(value) is str and value for value in found.values())


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_git_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state() is None
    git("init")
    assert git_state() is None  # no commit yet
    Path("a").write_text("1")
    git("add", "a")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert git_state() == (commit, False)
    Path("untracked").write_text("1")
    assert git_state() == (commit, False)
    Path("a").write_text("22")
    assert git_state() == (commit, True)


def test_git_state_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_state() is None


def test_git_state_gives_up_on_a_slow_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 20\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("efface.runtime.provenance.GIT_TIMEOUT_S", 0.1)
    start = time.monotonic()
    assert git_state() is None
    assert time.monotonic() - start < 10


def test_a_source_tree_that_was_never_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert efface_version() == versions()["efface"] == "not installed"
