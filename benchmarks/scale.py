"""Memory and time of unlearning and of an audit by the number of training records, each in a process of its own.

    python benchmarks/scale.py --records 10000 100000 1000000           # steer, an audit, and look-up by id
    python benchmarks/scale.py --records 1000000 --forget 100000 --work unlearn

Records of 1 kB (256 floats and a class) lie on disk and are read one by one (`os.pread`, as mapped pages would count
as memory). The original is a small network after one pass over them. `peak` is the most resident memory of the whole
process, `before` what it was with everything imported and the model loaded. The data go to a temporary folder that
is deleted. With --ids, records have an integer index, or names from a lazy sequence or from a list. The audit is at
level standard with two reference models and a test set, for which it hashes every record.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

import efface
from efface.data.ids import PositionalIds
from efface.data.index import RecordIndex
from efface.runtime.devices import threads

FEATURES, CLASSES = 256, 10
ROW = np.dtype([("x", np.float32, FEATURES), ("y", np.int32)])
OTHERS = {"holdout": 5_000, "test": 2_000}
CHUNK, BATCH, MIN_STEPS = 10_000, 500, 200
SHIFT, NOISE = 2.5, 0.1
REFERENCES = 2
LOOKUPS = 100_000


class Flat(Dataset):
    """Records of one flat file, read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._records = os.fstat(self._file).st_size // ROW.itemsize

    def __len__(self) -> int:
        return self._records

    def __getitem__(self, at: int):
        row = self.block(at, 1)[0]
        return torch.from_numpy(row["x"]), int(row["y"])

    def block(self, start: int, records: int) -> np.ndarray:
        raw = bytearray(os.pread(self._file, records * ROW.itemsize, start * ROW.itemsize))
        return np.frombuffer(raw, ROW)


class Names(PositionalIds):
    """Names of records, made when they are asked for."""

    def __init__(self, records: int) -> None:
        self._records = records

    def __len__(self) -> int:
        return self._records

    def name(self, position: int) -> str:
        return f"rec-{position:07d}"


IDS = {"index": lambda n: None, "lazy": Names, "list": lambda n: list(Names(n))}


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def write(path: Path, records: int, seed: int) -> None:
    """Classes a corner of their own each, a share of the labels drawn at random."""
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        for start in range(0, records, CHUNK):
            rows = np.zeros(min(CHUNK, records - start), ROW)
            rows["x"] = rng.standard_normal((len(rows), FEATURES), dtype=np.float32)
            rows["y"] = rng.integers(CLASSES, size=len(rows))
            rows["x"][np.arange(len(rows)), rows["y"]] += SHIFT
            noisy = rng.random(len(rows)) < NOISE
            rows["y"][noisy] = rng.integers(CLASSES, size=noisy.sum())
            file.write(rows.tobytes())


def make(folder: Path, records: int, seed: int) -> float:
    """Data and an original after one pass over them (more of few); gives its accuracy on the holdout."""
    for number, (name, n) in enumerate({"train": records, **OTHERS}.items()):
        write(folder / name, n, 3 * seed + number)
    train, holdout = Flat(folder / "train"), Flat(folder / "holdout").block(0, OTHERS["holdout"])
    torch.manual_seed(seed)
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    passes = -(-MIN_STEPS * BATCH // records)
    with threads(1):
        for start in list(range(0, records, BATCH)) * passes:
            rows = train.block(start, BATCH)
            optimiser.zero_grad()
            F.cross_entropy(model(torch.from_numpy(rows["x"].copy())), torch.from_numpy(rows["y"]).long()).backward()
            optimiser.step()
    torch.save(model.state_dict(), folder / "original")
    said = model(torch.from_numpy(holdout["x"].copy())).argmax(1).numpy()
    return float((said == holdout["y"]).mean())


def load(path: Path) -> nn.Module:
    model = network()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def peak_mb() -> float:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def work(folder: Path, what: str, kind: str, asked: int, method: str, seed: int) -> dict[str, object]:
    """One request, or an audit of what the last one left; to be called in a fresh process."""
    train = Flat(folder / "train")
    original = load(folder / "original")
    at = np.random.default_rng(seed).choice(len(train), asked, replace=False)
    before = peak_mb()
    ids = IDS[kind](len(train))
    forget = at.tolist() if ids is None else [ids[i] for i in at.tolist()]
    task = efface.Task(train=train, holdout=Flat(folder / "holdout"), ids=ids)
    started = time.perf_counter(), time.process_time()
    with threads(1):
        if what == "unlearn":
            result = efface.unlearn(original, forget=forget, task=task, method=method, seed=seed, progress=False)
            torch.save(result.model.state_dict(), folder / "unlearned")
            phases = {name: round(cost.wall_s, 1) for name, cost in result.cost.phases.items()}
        else:
            task.test = Flat(folder / "test")
            report = efface.audit_models(
                original,
                load(folder / "unlearned"),
                forget=forget,
                task=task,
                references=REFERENCES,
                options=efface.AuditOptions(run_seed=seed, progress=False),
            )
            phases = {name: round(cost.wall_s, 1) for name, cost in report.cost.phases.items()}
    ended = time.perf_counter(), time.process_time()
    return {
        "before_mb": round(before),
        "peak_mb": round(peak_mb()),
        "wall_s": round(ended[0] - started[0], 1),
        "cpu_s": round(ended[1] - started[1], 1),
        "phases": phases,
    }


def look_up(records: int, kind: str, seed: int) -> dict[str, float]:
    """Seconds to build an index, and microseconds a look-up in it."""
    ids = IDS[kind](records)
    started = time.perf_counter()
    index = RecordIndex(ids, records)
    built = time.perf_counter() - started
    at = np.random.default_rng(seed).integers(records, size=LOOKUPS).tolist()
    wanted = at if ids is None else [ids[i] for i in at]
    started = time.perf_counter()
    found = [index.position(i) for i in wanted]
    each = (time.perf_counter() - started) / LOOKUPS
    if found != at:
        raise SystemExit("the index gave a wrong position")
    return {"build_s": round(built, 2), "look_up_us": round(1e6 * each, 2)}


def apart(function, *arguments):
    """Call in a fresh process, whose peak memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--forget", type=int, nargs="+", default=[100])
    parser.add_argument("--ids", nargs="+", choices=IDS, default=["index"])
    parser.add_argument("--work", nargs="*", choices=("unlearn", "audit", "look-up"), default=None)
    parser.add_argument("--method", default="steer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    jobs = args.work or ["unlearn", "audit", "look-up"]
    rows: list[dict[str, object]] = []
    requests = [w for w in ("unlearn", "audit") if w in jobs]  # an audit needs what the request before it made
    if "audit" in jobs and "unlearn" not in jobs:
        parser.error("--work audit needs unlearn too")
    print(
        f"{'records':>9} {'forget':>7} {'ids':6} {'work':8} {'before':>7} {'peak':>7} {'wall':>7} {'CPU':>7}",
        flush=True,
    )
    for n in args.records:
        with tempfile.TemporaryDirectory(prefix="efface-scale-") as name:
            folder = Path(name)
            accuracy = apart(make, folder, n, args.seed) if requests else 0.0
            for asked, kind, what in itertools.product(args.forget, args.ids, requests):
                done = apart(work, folder, what, kind, asked, args.method, args.seed)
                case = {"records": n, "forget": asked, "ids": kind, "work": what, "accuracy": round(accuracy, 3)}
                rows.append(case | done)
                print(
                    f"{n:9d} {asked:7d} {kind:6} {what:8} {done['before_mb']:4d} MB {done['peak_mb']:4d} MB "
                    f"{done['wall_s']:5.1f} s {done['cpu_s']:5.1f} s",
                    flush=True,
                )
    ratios(rows)
    if "look-up" in jobs:
        times = {(n, kind): apart(look_up, n, kind, args.seed) for kind in args.ids for n in args.records}
        for (n, kind), took in times.items():
            least = times[min(args.records), kind]["look_up_us"]
            print(
                f"{n:9d} {'':7} {kind:6} look-up  built in {took['build_s']:.2f} s, {took['look_up_us']:.2f} µs each, "
                f"{took['look_up_us'] / least:.2f} times that of the fewest records"
            )
            rows.append({"records": n, "ids": kind, "work": "look-up", **took})
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def ratios(rows: list[dict[str, object]]) -> None:
    """Peak memory of the most records over that of the fewest, of each kind of case."""
    same = {(r["forget"], r["ids"], r["work"]) for r in rows}
    for case in sorted(same):
        peaks = {r["records"]: r["peak_mb"] for r in rows if (r["forget"], r["ids"], r["work"]) == case}
        if len(peaks) > 1:
            most, least = max(peaks), min(peaks)
            print(
                f"peak of {most} over {least} records, {case[2]}, {case[0]} ids to forget, {case[1]}: "
                f"{peaks[most] / peaks[least]:.2f}"
            )


if __name__ == "__main__":
    main()
