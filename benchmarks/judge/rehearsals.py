"""Error rates of rehearsals: which status requests of a few records get, from processes that forget and that do not.

    python -m benchmarks.judge.rehearsals --draws 20                         # every process, 1, 3, 10 and 50 records
    python -m benchmarks.judge.rehearsals --process retrained --draws 200    # false failures: at most 17 of 200
    python -m benchmarks.judge.rehearsals --process skips --sizes 1 5        # a process that skips requested records

Every draw has new records, a new request and new models: an MLP that knows 3,000 records by heart, two fifths of them
with labels drawn at random. A process makes the deployed model and those of the rehearsal. *retrained* trains afresh
without the records that it gets; *steer* is the library's own; *nothing* moves no weight by more than a hair; *skips*
retrains without the rehearsed records but with requested ones: with the only one, or with three of five, or three in
five of more. The others are of somebody who knows what retraining would give and wants to look like it in one respect
(`imposters.py`). `--noise 0` draws no wrong labels, so that the model memorises less.

Beside each status stands the mean chance, said by the audits, that a skipped record would have stood out: alone, and
all together. One CPU thread.
"""

import argparse
import json
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.utils.data import TensorDataset

import efface
from benchmarks.judge.imposters import IMPOSTERS, Case
from benchmarks.judge.null_rates import Kind, fit_net, make
from efface.methods.base import Method, Step

RECORDS, HOLDOUT, FEATURES, CLASSES = 3000, 3000, 64, 10
fit = partial(fit_net, steps=150, width=128)  # knows its records by heart
RECIPE = efface.Recipe(epochs=3, lr=1e-2, batch=32)  # of the audit's references
FALSE = ("nothing", "last_layer", "wrong_records", "temperature", "uniform", "skips")
PROCESSES = ("retrained", "steer", *FALSE)


@dataclass(frozen=True)
class Process(Method):
    """A process of a benchmark: `made` gives the weights from the problem."""

    key = "process"
    summary = "a process of the benchmark"
    source = "benchmark"

    @property
    def length(self):
        return 1

    @property
    def max_evaluations(self):
        return 0

    def run(self, problem):
        problem.model.load_state_dict(self.made(problem).state_dict())
        yield Step(1, float("nan"), is_eval_point=True)


def process(name, problem_of):
    """The method of a name; `problem_of` has the task's tensors and what was requested."""
    x, y, asked, classes, unseen = problem_of

    def made(_, problem):
        left = problem.all_retain
        if name == "skips":
            kept = asked if len(asked) == 1 else asked[: max(1, round(0.6 * len(asked)))]
            left = np.union1d(left, kept)
        if name == "nothing":
            model = fit(x[:9], y[:9], classes, 0)
            model.load_state_dict(problem.original.state_dict())
            with torch.no_grad():
                next(model.parameters()).mul_(1 + 1e-6)
            return model
        again = fit(x[left], y[left], classes, problem.seed % 2**31)
        if name in ("retrained", "skips"):
            return again
        at = problem.forget
        parts = ((x[at], y[at]), (x[problem.all_retain], y[problem.all_retain]), unseen)
        case = Case(problem.original, again, problem.task, at.tolist(), *parts, problem.seed % 2**31)
        return IMPOSTERS[name](case)

    return "steer" if name == "steer" else type(name, (Process,), {"made": made})()


def audited(name, size, seed, noise):
    """The audit of one draw."""
    kind = Kind(RECORDS, HOLDOUT, size, FEATURES, CLASSES, fit, noise=noise)
    generator = torch.Generator().manual_seed(seed)
    (x, y), held, unseen = (make(kind, n, generator)[:2] for n in (RECORDS, HOLDOUT, 1000))
    asked = torch.randperm(RECORDS, generator=generator)[:size].numpy()
    task = efface.Task(train=TensorDataset(x, y), holdout=TensorDataset(*held))
    original = fit(x, y, kind.classes, 10**6 + seed)
    method = process(name, (x, y, asked, kind.classes, unseen))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", efface.EffaceWarning)
        result = efface.unlearn(original, task=task, forget=asked.tolist(), method=method, seed=seed, progress=False)
        options = efface.AuditOptions(rehearse=True, recipe=RECIPE, progress=False)
        return efface.audit(result, options=options)


def draw(name, size, seed, noise):
    """What one draw gave, as JSON holds it."""
    try:
        report = audited(name, size, seed, noise)
    except efface.NothingUnlearnedError:
        return {"process": name, "size": size, "seed": seed, "status": "nothing_unlearned", "records": None}
    found = report.findings.rehearsal
    row = {"process": name, "size": size, "seed": seed, "status": str(report.verdict.status), "records": None}
    if found is None:
        return row
    return row | {
        "records": found.records,
        "process_status": str(found.process.status),
        "agrees": found.agreement.holds,
        "stands_out": [s.stands_out for s in found.standings],
        "seen_one": [s.seen_one for s in found.standings],
        "seen_all": [s.seen_all for s in found.standings],
        "cpu_s": report.cost.cpu_s,
    }


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--process", nargs="+", choices=PROCESSES, default=PROCESSES)
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 3, 10, 50], help="records in a request")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--noise", type=float, default=0.4, help="share of the labels that are drawn at random")
    parser.add_argument("--json", help="a file for the draws, one JSON object a line; draws in it are not made again")
    args = parser.parse_args(words)
    torch.set_num_threads(1)
    made = {}
    if args.json:
        with open(args.json, "a+", encoding="utf-8") as file:
            file.seek(0)
            made = {(r["process"], r["size"], r["seed"]): r for r in map(json.loads, file)}
    begun = time.process_time()
    for name in args.process:
        for size in args.sizes:
            rows = []
            for seed in range(args.draws):
                row = made.get((name, size, seed))
                if row is None:
                    row = draw(name, size, seed, args.noise)
                    if args.json:
                        with open(args.json, "a", encoding="utf-8") as file:
                            file.write(json.dumps(row) + "\n")
                rows.append(row)
            print(line(name, size, rows), flush=True)
    print(f"{time.process_time() - begun:.0f} CPU s")


def line(name, size, rows):
    """One line of the table."""
    counts = Counter(r["status"] for r in rows)
    tried = [r for r in rows if r["records"] is not None]
    shown = ", ".join(f"{status} {n}" for status, n in counts.most_common())
    if not tried:
        return f"{name:14s} {size:3d} records: {shown}"
    process = Counter(r["process_status"] for r in tried)
    caught = sum(any(r["stands_out"]) for r in tried)
    one, whole = (np.mean([max(r[key]) for r in tried]) for key in ("seen_one", "seen_all"))
    return (
        f"{name:14s} {size:3d} records: {shown} of {len(rows)} | "
        f"{np.mean([r['records'] for r in tried]):.0f} rehearsed, "
        f"process {', '.join(f'{k} {v}' for k, v in process.most_common())}; stand out {caught}, disagree "
        f"{sum(not r['agrees'] for r in tried)}; a skipped one would be seen {one:.2f}, all {whole:.2f}"
    )


if __name__ == "__main__":
    main()
