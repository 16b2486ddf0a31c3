"""What requests of a few records are answered: steer with a rehearsal, on the benchmark's five data sets.

    python -m benchmarks.judge.answers --cache .cache/bench                      # twenty requests
    python -m benchmarks.judge.answers --problems letter --sizes 1 --cache .cache/bench

Each request has random training records, and the original is the one that the benchmark trained. A row says the
status, how many records were rehearsed, what the process was found to be, what doing nothing shows on such records
(the greatest AUC less .5 of all attacks), and the price of the run and of the audit in record-trainings. One thread.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import torch

import efface
from benchmarks.asking import say
from benchmarks.harness.problems import problem
from benchmarks.harness.requests import make_request, train_originals

PROBLEMS = ("mnist", "fashion", "adult", "letter", "news")
SIZES = (1, 3, 10, 50)
POOL = 0.1  # of the training records: those that requests are drawn from


def answer(name, size, draw, cache):
    """The answer to one request, as JSON holds it."""
    chosen = problem(name)
    pool = make_request(chosen, chosen.usual, "random", POOL, draw, cache)
    original = train_originals(pool, 1, cache)[0]
    forget = np.sort(np.random.default_rng(size).choice(pool.forget, size, replace=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", efface.EffaceWarning)
        result = efface.unlearn(original, task=pool.task, forget=forget.tolist(), seed=size, progress=False)
        report = efface.audit(result, options=efface.AuditOptions(rehearse=True, progress=False))
    found = report.findings.rehearsal
    effects = [] if found is None else [abs(t.original.value) for t in found.tests]
    return {
        "problem": name,
        "size": size,
        "draw": draw,
        "status": str(report.verdict.status),
        "reason": report.verdict.reasons[0] if report.verdict.reasons else "",
        "rehearsed": None if found is None else found.records,
        "process": None if found is None else str(found.process.status),
        "no_trace": None if found is None else found.no_trace,
        "doing_nothing": max(effects, default=None),
        "price": result.cost.record_trainings,
        "audit_price": report.cost.total.record_trainings,
    }


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=PROBLEMS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="records in a request")
    parser.add_argument("--draw", type=int, default=2, help="which records are drawn from")
    parser.add_argument("--cache", type=Path, default=Path(".cache/bench"), help="keeps trained models, as suites do")
    parser.add_argument("--json", type=Path, help="a file for the answers, one a line; those in it are not made again")
    args = parser.parse_args(words)
    torch.set_num_threads(1)
    lines = args.json.read_text().splitlines() if args.json and args.json.exists() else []
    made = {(r["problem"], r["size"], r["draw"]): r for r in map(json.loads, lines)}
    print("| data | records | status | rehearsed | process | doing nothing shows | price: run, audit |")
    print("| :-- | --: | :-- | --: | :-- | --: | --: |")
    for name in args.problems:
        for size in args.sizes:
            row = made.get((name, size, args.draw))
            if row is None:
                say(f"{name}: a request of {size}")
                row = answer(name, size, args.draw, args.cache / "models")
                if args.json:
                    with args.json.open("a") as file:
                        file.write(json.dumps(row) + "\n")
            print(line(row), flush=True)


def line(row):
    """One row of the table."""
    shown = "–" if row["doing_nothing"] is None else f"{row['doing_nothing']:.2f}"
    return (
        f"| {row['problem']} | {row['size']} | {row['status']} | {row['rehearsed'] or '–'} | {row['process'] or '–'} "
        f"| {shown} | {row['price']:,.0f}, {row['audit_price']:,.0f} |"
    )


if __name__ == "__main__":
    main()
