"""Make the stored values of tests/stored again, where they changed and a version was raised.

    PYTHONPATH=tests python -m helpers.store_values             # writes new cases, and those whose version was raised
    PYTHONPATH=tests python -m helpers.store_values --renamed   # also those whose numbers only have other names
    PYTHONPATH=tests python -m helpers.store_values --force     # also those that changed under the same version

Cases that did not change stay as they are, so that a file does not drift from one processor to the next. What changed
under the same version is refused and listed: committed results name the version, and would belong to other code.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from helpers.fixed_audits import audit_case, audits
from helpers.fixed_runs import run_case
from helpers.method_table import SMALL
from helpers.stored import FOLDER, Case, differences, nameless, read, write


def accepted(stored: Case | None, now: Case, renamed: bool, force: bool) -> bool:
    """Whether a case may be written in place of the stored one."""
    if stored is None or now.version > stored.version or force:
        return True
    return renamed and now.version == stored.version and not differences(nameless(stored), nameless(now))


def update(path: Path, made: Mapping[str, Case], renamed: bool, force: bool) -> list[str]:
    """Write what may be written, and drop cases that are no longer made; gives a line for each case refused."""
    stored, refused = read(path), list[str]()
    kept: dict[str, Case] = {}
    for name, now in made.items():
        before = stored.get(name)
        changed = before is None or before.version != now.version or differences(before, now)
        kept[name] = now if changed and accepted(before, now, renamed, force) else before or now
        if changed and kept[name] is not now:
            assert before is not None, "a new case is always written"
            lines = differences(before, now) or [f"version {before.version} became {now.version}"]
            refused.append("\n  ".join([f"{path.name}, {name}, version {now.version}:", *lines]))
    write(path, kept)
    return refused


def main() -> int:
    """Make every case; gives the exit code."""
    parser = argparse.ArgumentParser(prog="helpers.store_values", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--renamed", action="store_true", help="accept the same numbers under other names")
    parser.add_argument("--force", action="store_true", help="accept other numbers under the same version")
    given = parser.parse_args()
    torch.set_num_threads(1)
    refused = update(FOLDER / "methods.json", {name: run_case(name) for name in SMALL}, given.renamed, given.force)
    judged = {name: audit_case(report) for name, report in audits().items()}
    refused += update(FOLDER / "judge.json", judged, given.renamed, given.force)
    if refused:
        print("\n".join(refused))
        print("refused: raise Method.version or JUDGE_VERSION, or say --renamed or --force")
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main())
