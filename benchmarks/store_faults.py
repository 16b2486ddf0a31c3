"""Puts faults into stores, and prints what was put in, how often, and what came of it.

    python -m benchmarks.store_faults                # about five minutes
    python -m benchmarks.store_faults --long         # with 200 kills at random moments and thousands of flipped bits
    python -m benchmarks.store_faults tests/store/test_kill.py --jobs 2

Runs the tests of the store, which put the faults in and check that nothing is lost; where one fails, or a fault cannot
be put in on this machine (a small disk takes the right to mount one), the table says so. Exit codes are those of the
command that meets the fault, as a shell shows them: 137 is a process that was killed. `same weights`: whatever was
interrupted is finished by the next run, which ends with the weights of a run that nothing happened to.
"""

import argparse
import os
import sys
import textwrap
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
INDENTED = textwrap.TextWrapper(118, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


class FaultTable:
    """Gathers from the reports of tests what was put in; a plugin of pytest, with or without processes of its own."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str, int]] = Counter()
        self.failed: dict[str, str] = {}
        self.skipped: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test put in, or why it did not."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.failed[report.nodeid] = (crash.message if crash else report.longreprtext).partition("\n")[0]
        elif report.skipped and isinstance(report.longrepr, tuple):
            self.skipped[report.longrepr[2].removeprefix("Skipped: ")] += 1
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == "fault":
                    fault, outcome, code, times = value
                    self.seen[fault, outcome, code] += times

    def lines(self) -> list[str]:
        """The table: a line for each kind of fault, and under it the points where it was put in."""
        kinds: dict[tuple[str, str, int], Counter[str]] = defaultdict(Counter)
        for (fault, outcome, code), times in self.seen.items():
            kind, _, point = fault.partition(" at ")
            if "." not in point:  # no fail point
                kind, point = fault, ""
            kinds[kind, outcome, code][point] += times
        lines = [f"{'what was put in':52} {'times':>6}  {'what came of it':16} {'exit code':>9}"]
        for (kind, outcome, code), points in sorted(kinds.items()):
            lines.append(f"{kind:52} {points.total():6}  {outcome:16} {code:9}")
            named = [f"{point} ({times})" if times > 1 else point for point, times in sorted(points.items()) if point]
            lines += INDENTED.wrap("at " + ", ".join(named)) if named else []
        lines.append(f"{'in all':52} {self.seen.total():6}")
        lines += [f"not done here, {times} tests: {why}" for why, times in sorted(self.skipped.items())]
        return lines + [f"FAILED {name}: {why}" for name, why in sorted(self.failed.items())]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", default=["tests/store"], help="tests to run, as pytest takes them")
    parser.add_argument("--long", action="store_true", help="what takes some twenty minutes too")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    args = parser.parse_args()
    os.chdir(ROOT)
    os.environ["EFFACE_LONG"] = "1" if args.long else "0"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    table = FaultTable()
    words = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=short", *args.tests]
    code = pytest.main([*words, *(["-n", str(args.jobs)] if args.jobs > 1 else [])], plugins=[table])
    print("\n".join(["", *table.lines()]))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
