"""Provenance of a result: versions of libraries, and the git commit."""

import os
import platform
import subprocess
from importlib import metadata

GIT_TIMEOUT_S = 2.0


def efface_version() -> str:
    """The installed version of efface; `not installed` for a source tree that was not installed."""
    try:
        return metadata.version("efface")
    except metadata.PackageNotFoundError:
        return "not installed"


def versions() -> dict[str, str]:
    """The versions that a result depends on, by name: efface, python, torch, numpy, scipy and platform."""
    import numpy  # imported here, since `efface_version` needs none of these
    import scipy
    import torch

    return {
        "efface": efface_version(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "scipy": str(scipy.__version__),
        "platform": platform.platform(),
    }


def git_state() -> tuple[str, bool] | None:
    """The git commit of the working folder, and whether tracked files differ from it.

    Returns:
        The hash of the commit, and True if files differ; None if there is no commit or git fails.
    """
    command = ["git", "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    # no optional locks, since `git status` would otherwise write to the user's index
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, timeout=GIT_TIMEOUT_S, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.decode(errors="replace").splitlines()
    commits = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
    if not commits or commits[0] == "(initial)":
        return None
    return commits[0], any(not line.startswith("#") for line in lines)
