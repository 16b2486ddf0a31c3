"""What a store costs beside the work itself: one run on Fashion-MNIST, 60,000 records, 600 of them to forget.

    python -m benchmarks.store_overhead            # about three minutes; --seeds 3 for the spread
    python -m benchmarks.store_overhead --audit    # with the standard audit, as efface run does by default

Work is what `efface.unlearn`, `efface.audit` and drawing the report take: there is no answer to a request without it.
Everything else of `Store.add` and `Store.run` is the store's: tags of all ids, the database with its syncs, hashing and
keeping the checkpoint, loading it, drift on 2,000 holdout records, deleting ids and emptying the log. The second
request of each store is the dearer one, since 60,000 tags are computed to leave out the records of the first. The
original is trained for two epochs only: that changes what it knows, not what a run costs.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.fashion_demo import fashion_setting
from efface.auditing.report.build import Report
from efface.cli.demo import train_by_cross_entropy
from efface.runtime.devices import threads
from efface.runtime.provenance import versions
from efface.store import RunPlan, Store
from efface.store import build as making
from efface.store import run as running


class Clock:
    """Wall and CPU seconds spent in wrapped functions."""

    def __init__(self):
        self.wall = self.cpu = 0.0

    def around(self, function):
        def timed(*args, **kwargs):
            before = time.perf_counter(), time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.wall += time.perf_counter() - before[0]
                self.cpu += time.process_time() - before[1]

        return timed


def measured(work, store, plan, ids):
    """Work and overhead, in wall and CPU seconds, of one request and its run."""
    work.wall = work.cpu = 0.0
    before = time.perf_counter(), time.process_time()
    store.add(ids, note="a request")
    store.run(plan, progress=False)
    wall, cpu = time.perf_counter() - before[0], time.process_time() - before[1]
    return {"work_wall": work.wall, "work_cpu": work.cpu, "wall": wall - work.wall, "cpu": cpu - work.cpu}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--audit", action="store_true", help="judge each run by the standard audit")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    work = Clock()
    making.unlearn = work.around(making.unlearn)
    running.audit_models = work.around(running.audit_models)
    Report.save = work.around(Report.save)
    rows = []
    for seed in range(args.seeds):
        setting = fashion_setting(seed)
        torch.manual_seed(seed)
        model = setting.build()
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
        train_by_cross_entropy(model, setting.task.train, seed, optimiser, epochs=2, batch=128)
        forget = setting.kinds["random"]
        with tempfile.TemporaryDirectory() as folder:
            store = Store.create(Path(folder) / "store", setting.task, model.eval(), device="cpu")
            plan = RunPlan(seed=seed, level="standard" if args.audit else None, accept="any")
            for number, ids in enumerate((forget[:300], forget[300:]), 1):
                row = {"seed": seed, "request": number, **measured(work, store, plan, ids)}
                row |= {f"share_{kind}": row[kind] / (row[kind] + row[f"work_{kind}"]) for kind in ("wall", "cpu")}
                rows.append(row)
                print(
                    f"seed {seed} request {number}: work {row['work_wall']:.1f} s ({row['work_cpu']:.1f} CPU), store "
                    f"{row['wall']:.2f} s ({row['cpu']:.2f} CPU): {row['share_wall']:.2%} of wall, "
                    f"{row['share_cpu']:.2%} of CPU time",
                    flush=True,
                )
    shares = [r[f"share_{kind}"] for r in rows for kind in ("wall", "cpu")]
    print(f"largest share {max(shares):.2%}, median {statistics.median(shares):.2%}; {versions()}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    with threads(1):
        main()
