"""How a method stands: one kind of request on one data set, judged by ensembles that it has never seen.

    python benchmarks/standing.py fashion random1 --cache .cache                  # 16 unlearned, 16 + 16 retrained
    python benchmarks/standing.py news class --cache .cache --out standing.jsonl  # one line of JSON a row
    python benchmarks/standing.py fashion random1 --models 32 --attack            # and U-LiRA, 32 + 32
    python benchmarks/standing.py table --out standing.jsonl                      # the rows as a Markdown table

Data sets: fashion, adult, news. Requests: see kinds.py. `--draw 0` is the draw that steer's options were chosen on,
`--draw 1` (the default) another one. Ensembles take about 7 CPU seconds a model and are kept in --cache. Cost is CPU
seconds, one thread, of whole calls of `efface.unlearn` (checks, reference, targets, steps and stop checks included),
against retraining in the same process just before; `--phases` shows where it went.
"""

import argparse
import json
import time
from pathlib import Path

import kinds
import numpy as np
import torch
from reading import Ground, judged
from scipy.stats import t as student
from three_sets import SETS

import efface
from efface.attacks.ulira import ulira
from efface.runtime import threads, versions

TIMED = 2  # retrainings that are timed in the run itself


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=[*SETS, "table"])
    parser.add_argument("kind", nargs="?", default="random1")
    parser.add_argument("--draw", type=int, default=1)
    parser.add_argument("--models", type=int, default=16, help="unlearned models; twice as many are retrained")
    parser.add_argument("--method", default="steer", choices=efface.methods.available())
    parser.add_argument("--option", action="append", default=[], help="name=value, of the method")
    parser.add_argument("--attack", action="store_true", help="U-LiRA too; all retrained models are its shadows")
    parser.add_argument("--phases", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.data == "table":
        print(table([json.loads(line) for line in args.out.read_text().splitlines()]))
        return
    row = stand(args)
    print(json.dumps(row, indent=1))
    if args.out:
        with args.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


def stand(args):
    records, cache = SETS[args.data](), args.cache / args.data
    asked = kinds.request(args.data, records, args.kind, args.draw, args.cache)
    task, forget, k = asked.task, asked.forget, args.models
    again = retraining_cost(records, task, forget)
    originals = kinds.originals(asked, records, k, cache)
    retrained = kinds.retrained(asked, records, max(32, k) if args.attack else 2 * k, cache)
    method = efface.methods.get(args.method, dict(o.split("=", 1) for o in args.option))
    results = [
        efface.unlearn(m, task=task, forget=forget.tolist(), method=method, seed=s, progress=False)
        for s, m in enumerate(originals)
    ]
    spent = [r.cost.cpu_s for r in results]
    ground = Ground(task, forget, retrained[0])
    first, ours, gold = (ground.reads(m) for m in (originals, [r.model for r in results], retrained))
    row = {
        "data": args.data, "request": args.kind, "draw": args.draw, "method": method.key, "options": args.option,
        "records": records.train, "forget": len(forget), "epochs": records.epochs, "models": k,
        "retrained": len(retrained), "machine": versions(),
        "cpu": {"retrain": again, "unlearn": float(np.mean(spent)), "cheaper": again / float(np.mean(spent)),
                "cheaper early-stopped": again / float(np.mean(spent)) * records.early / records.epochs},
        "remains": {}, "d2": {}, "outcomes": [r.evidence.outcome.value for r in results],
    }  # fmt: skip
    if args.phases:
        row["phases"] = {p: float(np.mean([r.cost.phases[p].cpu_s for r in results])) for p in results[0].cost.phases}
    for key, r in judged(first, ours, gold).items():
        row["remains"][key] = {"share": interval(r.share), "informative": r.informative}
        row["d2"][key] = {w: interval(getattr(r, w)) for w in ("original", "unlearned", "retrained")}
    for key in ("retain", "test"):  # whether unlearning moved the models away, paired over originals
        row["d2"][key]["change"] = change(first[key], ours[key], gold[key])
    for key in ("accuracy forget", "accuracy retain", "accuracy test", "auc"):
        row[key] = {
            w: float(v[key].double().mean()) for w, v in (("original", first), ("unlearned", ours), ("retrained", gold))
        }
    gap = ours["auc"].double() - gold["auc"].double().mean()
    error = (gap.var() / len(gap) + gold["auc"].double().var() / len(gold["auc"])).sqrt()
    row["loss attack"] = {"gap": float(gap.mean()), "error": float(error)}
    row["total variation"] = {
        "original": variation(first, gold), "unlearned": variation(ours, gold), "retrained": variation(gold, gold)
    }  # fmt: skip
    if args.kind == "class":
        gone = int(records.y[forget[0]])
        row["predicted"] = {
            w: float((v["probabilities"].argmax(2) == gone).double().mean())
            for w, v in (("original", first), ("unlearned", ours), ("retrained", gold))
        }
    if args.attack:
        seen = {w: v["raw margin"] for w, v in (("original", first), ("unlearned", ours), ("retrained", gold))}
        row["U-LiRA"] = {w: ulira(seen[w], seen["retrained"]).accuracy for w in ("original", "unlearned")}
        row["U-LiRA"]["retrained"] = ulira(seen["retrained"][::2], seen["retrained"][1::2]).accuracy
    return row


def retraining_cost(records, task, forget):
    kept = torch.from_numpy(np.setdiff1d(np.arange(records.train), forget))
    x, y = (t[kept] for t in task.train.tensors)
    start = time.process_time()
    for seed in range(TIMED):
        torch.manual_seed(seed)
        task.fit(records.build(), torch.utils.data.TensorDataset(x, y), seed)
    return (time.process_time() - start) / TIMED


def interval(e):
    return [e.value, e.low, e.high]


def change(first, ours, gold):
    """Squared distance to the retrained mean, unlearned less original, in their spread, with a 95 % interval.

    What two retrained halves differ by, and an original's own noise, is in both, so it drops out.
    """
    unit, middle, k = gold.var(0).mean(), gold.mean(0), len(first)

    def moved(rows):
        return float((squared(ours[rows], middle) - squared(first[rows], middle)) / unit)

    whole = moved(list(range(k)))
    # jackknife over originals and theirs together
    parts = [moved([j for j in range(k) if j != i]) for i in range(k)]
    half = float(student.ppf(0.975, k - 1)) * (np.var(parts) * (k - 1)) ** 0.5
    return [whole, whole - half, whole + half]


def squared(models, middle):
    """Squared gap of the models' mean to `middle`, mean over records, without the noise of the models."""
    off, k = models - middle, len(models)
    return ((off.sum(0).square() - off.square().sum(0)) / (k * (k - 1))).mean()


def variation(ours, gold):
    """Mean total variation of outputs on the forget records between two different models."""
    a, b = ours["probabilities"], gold["probabilities"]
    same = ours is gold
    far = [(a[i] - b[j]).abs().sum(1).mean() / 2 for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
    return float(torch.stack(far).mean())


def table(rows):
    """One line a row: shares that remain as value [upper bound], uninformative cells in brackets."""
    keys = ("margin", "perturbed", "other_classes", "logits", "neighbours")
    lines = [
        "| data, request | records | "
        + " | ".join(keys)
        + " | retain: doing nothing, then change | test | AUC | cheaper (early-stopped) |",
        "|---" * (len(keys) + 6) + "|",
    ]
    for r in rows:
        cells = [
            f"{r['data']}, {r['request']}" + ("" if r["method"] == "steer" else f", {r['method']}"),
            str(r["forget"]),
        ]
        for key in keys:
            cell = r["remains"].get(key)
            shown = "" if cell is None else f"{cell['share'][0]:.2f} [{cell['share'][2]:.2f}]"
            cells.append(shown if cell is None or cell["informative"] else f"({shown})")
        for key in ("retain", "test"):
            d = r["d2"][key]
            cells.append(
                f"{d['original'][0]:.2f}, {d['change'][0]:+.2f} [{d['change'][1]:+.2f}, {d['change'][2]:+.2f}]"
            )
        cells.append(" / ".join(f"{r['auc'][w]:.3f}" for w in ("original", "unlearned", "retrained")))
        cells.append(f"{r['cpu']['cheaper']:.1f} ({r['cpu']['cheaper early-stopped']:.1f})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    with threads(1):
        main()
