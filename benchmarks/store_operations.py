"""What each command of a store takes: time, memory and size on disk, for large stores.

    python -m benchmarks.store_operations                       # about 15 minutes; needs 3 GB of memory
    python -m benchmarks.store_operations --small               # a minute, to see that it works
    python -m benchmarks.store_operations --only requests versions --json now.json
    python -m benchmarks.store_operations --before earlier.json # beside the figures of an earlier run

Stores: `requests`, of 10,000 requests for one record each; `ids`, of one request for 100,000 records of 600,000;
`versions`, of 50 versions that are all kept; each on a task of `benchmarks.store_task`. Each command is a process of
its own and starts Python anew; medians of three, or one measurement of what is slow. A command that changes the store
is given a copy of it each time. `fingerprints` measures a store for 1,000,000 records in one process. A command that
this version of efface lacks is left out. Another checkout is measured with PYTHONPATH=OTHER/src. On a machine with
other work to do, compare CPU seconds. Linux or macOS.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"requests": 10_000, "ids": 100_000, "versions": 50, "fingerprints": 1_000_000}
SMALL = {"requests": 100, "ids": 1000, "versions": 4, "fingerprints": 5000}
REPEATS = 3
SLOW_S = 20  # a command that takes longer is measured once
Row = dict[str, Any]
Table = tuple[str, list[Row], str]  # its title, its rows, and the size of the store


@dataclass(frozen=True)
class Operation:
    """A command to measure.

    Args:
        name: how the table calls it.
        words: what follows `efface`; {store}, {number}, {last}, {ids} and {out} are filled in.
        changes: whether it changes the store, so that each measurement takes a copy.
        codes: exit codes that are expected.
    """

    name: str
    words: str
    changes: bool = False
    codes: tuple[int, ...] = (0,)


ADD_ONE = Operation("request add (1 id)", "request add --store {store} --ids {one}", changes=True)
ADD_MANY = Operation("request add (all ids)", "request add --store {store} --ids {ids}", changes=True)
CANCEL = Operation("request cancel", "request cancel {last} --store {store}", changes=True)
RUN = Operation("run (nothing pending)", "run --store {store}", changes=True)
READING = (
    Operation("request list", "request list --store {store}"),
    Operation("request list --json", "request list --json --store {store}"),
    Operation("request show", "request show {last} --store {store}"),
    Operation("status", "status --store {store}"),
    Operation("status --check", "status --check --store {store}", codes=(0, 3)),
    Operation("verify --no-audit", "verify --no-audit --store {store}"),
    Operation("export", "export {last} --store {store} --out {out}"),
    Operation("head", "head --store {store}"),
    Operation("backup", "backup --store {store} --out {out}"),
)


def child_environment() -> dict[str, str]:
    """One thread, and the package and tasks of this process."""
    package = find_spec("efface")
    paths = (
        [str(ROOT)] if package is None or package.origin is None else [str(Path(package.origin).parents[1]), str(ROOT)]
    )
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1"}


def measure(words: list[str]) -> tuple[Row, str, str]:
    """Seconds, peak memory and exit code of one process, and what it printed to both streams."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            words, cwd=ROOT, env=child_environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = code = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        scale = 1 if sys.platform == "darwin" else 1024
        row = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss * scale / 1e6, "code": code}
        return row, out.read(), err.read()


def efface(words: str, **values: object) -> list[str]:
    """A command line, from its words and what is filled in."""
    return [sys.executable, "-m", "efface", *(word.format(**values) for word in words.split())]


@cache
def known(operation: Operation) -> bool:
    """Whether this version of efface has a command."""
    verbs = [word for word in operation.words.partition(" {")[0].partition(" --")[0].split()]
    return measure(efface(" ".join([*verbs, "--help"])))[0]["code"] == 0


def copied(store: Path, to: Path) -> Path:
    """A copy of a store and of its key."""
    shutil.copytree(store, to / store.name, symlinks=True)
    shutil.copy(store.with_name(f"{store.name}.key"), to)
    return to / store.name


@dataclass(frozen=True)
class Place:
    """Where a store is made and measured.

    Args:
        work: a folder of its own.
        slow_s: a command that takes longer is measured once.
    """

    work: Path
    slow_s: float

    @property
    def store(self) -> Path:
        """The store's folder."""
        return self.work / "store"

    def make(self, kind: str, count: int) -> list[Row]:
        """Make a store, or do more to it, and what that took."""
        module = [sys.executable, "-W", "ignore", "-m", "benchmarks.store_making"]
        seen, out, err = measure([*module, kind, str(self.store), str(count)])
        if seen["code"]:
            raise SystemExit(f"{kind}: the store could not be made:\n{err}")
        return [{"name": name, **took, "mb": seen["mb"]} for name, took in json.loads(out).items()]

    def operate(self, *operations: Operation, last: int) -> list[Row]:
        """The figures of some commands, of those that this version of efface has."""
        return [self.measured(operation, last) for operation in operations if known(operation)]

    def measured(self, operation: Operation, last: int) -> Row:
        """The medians of a command's measurements."""
        rows = []
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory(dir=self.work) as scratch:
                store = copied(self.store, Path(scratch)) if operation.changes else self.store
                values = {"one": self.work / "one.txt", "ids": self.work / "ids.txt", "out": Path(scratch) / "out"}
                row, _, err = measure(efface(operation.words, store=store, last=last, **values))
            if row["code"] not in operation.codes:
                return {"name": operation.name, "code": row["code"], "failed": err.strip().splitlines()[:3]}
            rows.append(row)
            if row["wall"] > self.slow_s:
                break
        return {"name": operation.name, **{key: statistics.median(r[key] for r in rows) for key in rows[0]}}


def megabytes(path: Path) -> float:
    """The size of a folder's files."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6


def size_of(store: Path) -> str:
    """The size of a store, and of its database."""
    database = (store / "ledger.sqlite").stat().st_size / 1e6
    return f"{megabytes(store):.1f} MB on disk, of which the database {database:.1f} MB"


def of_requests(place: Place, count: int) -> Iterator[Table]:
    """Many requests, while they wait and when they are honoured."""
    (place.work / "one.txt").write_text(f"person-{count:07d}@example.org\n")
    rows = [*place.make("requests", count), *place.operate(ADD_ONE, *READING, CANCEL, last=count)]
    yield f"{count:,} requests of one record, pending", rows, size_of(place.store)
    rows = [*place.make("honoured", count), *place.operate(ADD_ONE, *READING, RUN, last=count)]
    yield f"{count:,} requests of one record, honoured", rows, size_of(place.store)


def of_ids(place: Place, count: int) -> Iterator[Table]:
    """One large request, while it waits and when it is honoured."""
    ids = place.work / "ids.txt"
    ids.write_text("".join(f"person-{at:07d}@example.org\n" for at in range(count)))
    rows = [*place.make("empty", count), *place.operate(ADD_MANY, last=1)]
    added, _, err = measure(efface(ADD_MANY.words, store=place.store, ids=ids))
    if added["code"]:
        raise SystemExit(f"ids: the request could not be added:\n{err}")
    rows += place.operate(*READING, CANCEL, last=1)
    yield f"one request of {count:,} ids, pending", rows, size_of(place.store)
    rows = [*place.make("honoured", count), *place.operate(*READING, RUN, last=1)]
    yield f"one request of {count:,} ids, honoured", rows, size_of(place.store)


def of_versions(place: Place, count: int) -> Iterator[Table]:
    """Many versions, all of which are kept."""
    (place.work / "one.txt").write_text("person-0000999@example.org\n")
    rows = [*place.make("versions", count), *place.operate(ADD_ONE, *READING, RUN, last=count - 1)]
    yield f"{count} versions", rows, size_of(place.store)


def of_fingerprints(place: Place, count: int) -> Iterator[Table]:
    """A store for many records, in one process; its peak memory is that of the whole, data and torch included."""
    rows = place.make("fingerprints", count)
    yield f"a store for {count:,} records of 16 features, in one process", rows, size_of(place.store)


PARTS: dict[str, Callable[[Place, int], Iterator[Table]]] = {
    "requests": of_requests,
    "ids": of_ids,
    "versions": of_versions,
    "fingerprints": of_fingerprints,
}


def line_of(row: Row, before: Row | None) -> str:
    """A row of a table, with the figures of an earlier run beside it."""
    if "failed" in row:
        return f"  {row['name']:52} exit code {row['code']}: {' '.join(row['failed'])[:120]}"
    earlier = "" if before is None else f"   before {seconds(before.get('wall'))} s {seconds(before.get('cpu'))} CPU s"
    code = f"   exit code {row['code']}" if row.get("code") else ""
    return f"  {row['name']:52} {seconds(row['wall'])} s {seconds(row['cpu'])} CPU s {row['mb']:7.0f} MB{earlier}{code}"


def seconds(value: float | None) -> str:
    """Seconds in a column of fixed width."""
    if value is None:
        return f"{'-':>9}"
    return f"{value:9.4f}" if value < 0.1 else f"{value:9.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="small stores")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some of the stores")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--before", type=Path, help="a file that --json wrote, to compare with")
    args = parser.parse_args()
    before = {} if args.before is None else json.loads(args.before.read_text())
    started = statistics.median(measure(efface("--version"))[0]["wall"] for _ in range(REPEATS))
    print(f"python -m efface --version takes {started:.2f} s")
    found: dict[str, list[Row]] = {}
    for part in args.only:
        with tempfile.TemporaryDirectory() as work:
            place = Place(Path(work), 0.0 if args.small else SLOW_S)
            for title, rows, size in PARTS[part](place, (SMALL if args.small else SIZES)[part]):
                earlier = {row["name"]: row for row in before.get(title, [])}
                print(f"\n{title}: {size}")
                for row in rows:
                    print(line_of(row, earlier.get(row["name"])), flush=True)
                found[title] = rows
                if args.json:
                    args.json.write_text(json.dumps(found, indent=1))
    print(f"\n{measure(efface('--version'))[1].strip()}, {sys.platform}, {os.cpu_count()} cores, one thread")


if __name__ == "__main__":
    main()
