"""Known error rates: models retrained without the forget set are audited as if they were unlearned.

    python -m benchmarks.judge.null_rates --task ridge --level quick
    python -m benchmarks.judge.null_rates --task net --level standard --retrained 3
    python -m benchmarks.judge.null_rates --task ridge --level strong --method retrain --json /tmp/null.json

Every draw has new records, a new request and new models. Each test may reject at most 17 of 200 draws at 5 %, and so
may the verdict (`not_verified`): more has a chance of 1.5 % at a true rate of 5 %. Tasks: `ridge` (a closed form) and
`logistic` (to convergence), both on a random 80 % of the records so that trainings differ; `net`, an MLP that knows its
records by heart; `flipped`, that MLP with every wrongly labelled record to forget, and `chosen`, with those that a
model of other records finds hardest: these two are no random samples, so equal difficulty must make up for it;
`persons`, that MLP on persons of 1 to 20 nearly equal records each, of which some are forgotten whole: --groups says
for which sets the audit knows whose the records are (`all`, `train`, `none`).

The columns: p < 5 %, draws in which it was measured, mean p (0.5 where exact), mean effect, the effects' standard
deviation over the mean of their stated standard errors (1 where exact), `left` after the correction, and draws in
which the test was uninformative. --pool judges ensembles drawn from one pool of retrained networks by the permutation
test alone, without the rest of the audit. One CPU thread.
"""

import argparse
import json
import time
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import norm
from torch import nn
from torch.utils.data import TensorDataset

import efface
from efface.metrics.distance import permutation
from efface.numerics.logits import margin, other_gap, symlog

BAR = 17 / 200
RECIPE = efface.Recipe(epochs=1, lr=2e-2, batch=32, least_steps=40)  # of the audit's references


@dataclass(frozen=True)
class Kind:
    """A task: its size, and how a model is fitted to (x, y) by a seed; a share of the labels is drawn at random."""

    records: int
    holdout: int
    forget: int
    features: int
    classes: int
    fit: object
    request: str = "random"
    noise: float = 0.2
    persons: bool = False  # then the numbers above count persons, of 1 to 20 records each


def some(x, y, seed, share=0.8):
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[: round(share * len(x))]
    return x[rows].double(), y[rows]


def linear(weights):
    """A linear model with weights (features + 1, classes), the intercept last."""
    model = nn.Linear(len(weights) - 1, weights.shape[1])
    with torch.no_grad():
        model.weight.copy_(weights[:-1].T)
        model.bias.copy_(weights[-1])
    return model.eval()


def with_one(x):
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)


def fit_ridge(x, y, classes, seed, strength=60.0, scale=6.0):
    x, y = some(x, y, seed)
    x = with_one(x)
    centred = F.one_hot(y, classes).double() - 1 / classes
    return linear(scale * torch.linalg.solve(x.T @ x + strength * torch.eye(x.shape[1]).double(), x.T @ centred))


def fit_logistic(x, y, classes, seed, strength=1.0):
    x, y = some(x, y, seed)
    x = with_one(x)
    weights = torch.zeros(x.shape[1], classes, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, tolerance_grad=1e-8, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = F.cross_entropy(x @ weights, y, reduction="sum") + strength / 2 * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return linear(weights.detach())


def fit_net(x, y, classes, seed, steps=150, width=48):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(x.shape[1], width), nn.ReLU(), nn.Linear(width, classes))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model.eval()


KINDS = {
    "ridge": Kind(400, 400, 80, 200, 4, fit_ridge),
    "logistic": Kind(400, 400, 80, 100, 3, fit_logistic),
    "net": Kind(800, 1200, 160, 16, 3, fit_net),
    "flipped": Kind(800, 1200, 0, 16, 3, fit_net, "flipped"),
    "chosen": Kind(800, 1200, 160, 16, 3, fit_net, "chosen"),
    "persons": Kind(250, 150, 40, 16, 3, fit_net, persons=True),
}


def make(kind, n, generator):
    """Records around a corner for each class; labels; and which of them are wrong."""
    y = torch.randint(kind.classes, (n,), generator=generator)
    x = torch.randn(n, kind.features, generator=generator)
    x[torch.arange(n), y] += 3.5
    drawn = torch.randint(kind.classes, (n,), generator=generator)
    shown = torch.where(torch.rand(n, generator=generator) < kind.noise, drawn, y)
    return x, shown, shown != y


def make_persons(kind, n, generator):
    """Records of n persons: nearly equal ones with the same label for each; and the number of each record's person."""
    x, y, wrong = make(kind, n, generator)
    of = torch.repeat_interleave(torch.arange(n), torch.randint(1, 21, (n,), generator=generator))
    return x[of] + 0.3 * torch.randn(len(of), kind.features, generator=generator), y[of], wrong[of], of


def request(kind, x, y, wrong, generator):
    if kind.request == "flipped":
        return wrong.nonzero()[:, 0].tolist()
    if kind.request == "random":
        return torch.randperm(len(x), generator=generator)[: kind.forget].tolist()
    other = kind.fit(*make(kind, kind.records, generator)[:2], kind.classes, 0, 30)
    with torch.no_grad():
        hard = margin(other(x), y)
    return hard.argsort()[: kind.forget].tolist()


def draw(kind, seed, again=0, groups="all"):
    """One problem: arguments for efface.audit_models."""
    generator = torch.Generator().manual_seed(seed)
    known = {}
    if kind.persons:
        x, y, _, of = make_persons(kind, kind.records, generator)
        held, test = (make_persons(kind, kind.holdout, generator) for _ in range(2))
        asked = torch.randperm(kind.records, generator=generator)[: kind.forget]
        forget = torch.isin(of, asked).nonzero()[:, 0].tolist()
        known = {} if groups == "none" else {"groups": of.tolist()}
        if groups == "all":  # other persons than those of training
            known |= {"holdout_groups": (1000 + held[3]).tolist(), "test_groups": (2000 + test[3]).tolist()}
        held, test = held[:2], test[:2]
    else:
        x, y, wrong = make(kind, kind.records, generator)
        held, test = (make(kind, kind.holdout, generator)[:2] for _ in range(2))
        forget = request(kind, x, y, wrong, generator)
    keep = np.setdiff1d(np.arange(len(x)), forget)

    def fit(model, data, seed):
        pairs = data.dataset[data.indices]
        return kind.fit(*pairs, kind.classes, seed)

    task = efface.Task(
        train=TensorDataset(x, y), holdout=TensorDataset(*held), test=TensorDataset(*test), fit=fit, **known
    )
    base = seed * 1000
    models = [kind.fit(x[keep], y[keep], kind.classes, base + 1 + k) for k in range(1 + again)]
    return {
        "original": kind.fit(x, y, kind.classes, base),
        "unlearned": models[0],
        "forget": forget,
        "task": task,
        "retrained": models[1:],
        "seed": seed,
        "options": efface.AuditOptions(recipe=RECIPE, progress=False),
    }


def judged(kind, seed, level, again=0, models=8, method=None, groups="all"):
    """The audit of one retrained model: its tests, and the verdict."""
    drawn = draw(kind, seed, again, groups)
    if level == "strong":
        drawn["options"] = replace(drawn["options"], models=models, method=method, jobs=1)
    return row(efface.audit_models(**drawn, level=level), seed)


def row(report, seed):
    """What the table needs of an audit."""
    tests = {
        r.key: {
            "p": r.p,
            "adjusted": r.p_adjusted,
            "value": r.unlearned.value,
            "error": (r.unlearned.high - r.unlearned.low) / 2 / float(norm.ppf(0.975)),
            "original": r.original.value,
            "outcome": r.outcome,
            "dull": r.uninformative_reason,
        }
        for r in report.tests
    }
    change, verdict = report.table.utility_change(), report.verdict
    utility = [change.value, change.low, change.high]
    return {
        "seed": seed,
        "verdict": str(verdict.status),
        "reasons": verdict.reasons,
        "utility": utility,
        "tests": tests,
    }


def pooled(kind, draws, seed, size, ours, theirs):
    """Permutation tests of `ours` models against `theirs`, drawn from one pool of retrained ones."""
    generator = torch.Generator().manual_seed(seed)
    x, y, _ = make(kind, kind.records, generator)
    forget, kept = x[: kind.forget], (x[kind.forget :], y[kind.forget :])
    models = [kind.fit(*kept, kind.classes, seed * 1000 + k) for k in range(size)]
    with torch.no_grad():
        z = [m(forget) for m in models]
    cells = {
        "d2_margin": torch.stack([symlog(margin(v, y[: kind.forget])) for v in z]),
        "d2_other_classes": torch.stack([symlog(other_gap(v, y[: kind.forget])) for v in z]),
        "d2_logits": torch.stack([symlog(v - v.mean(1, keepdim=True)).flatten() for v in z]),
    }
    found = []
    for k in range(draws):
        rows = torch.randperm(size, generator=generator)[: ours + theirs]
        ps = permutation({key: (v[rows[:ours]], v[rows[ours:]]) for key, v in cells.items()}, seed + k)
        tests = {key: {"p": p, "adjusted": a, "outcome": "left" if a < 0.05 else "open"} for key, (p, a) in ps.items()}
        left = any(t["outcome"] == "left" for t in tests.values())
        found.append({"seed": k, "verdict": "not_verified" if left else "undecided", "tests": tests})
    return found


def table(found, marks=True):
    """Lines of the table, and whether every test and the verdict keep to the bar; `marks` names tests that do not."""
    by_key = defaultdict(list)
    for row in found:
        for key, test in row["tests"].items():
            by_key[key].append(test)
    counts = {s: sum(r["verdict"] == s for r in found) for s in ("verified", "undecided", "not_verified")}
    good = counts["not_verified"] <= BAR * len(found)
    lines = [f"{'test':20s} p<5% draws mean p   effect sd/error left dull"]
    for key, tests in by_key.items():
        p = np.array([t["p"] for t in tests])
        below = int((p < 0.05).sum())
        good &= below <= BAR * len(found)
        effect = np.array([(t.get("value", np.nan), t.get("error", np.nan)) for t in tests])
        outcomes = [t["outcome"] for t in tests]
        ratio = effect[:, 0].std(ddof=1) / effect[:, 1].mean() if len(tests) > 1 else np.nan
        lines.append(
            f"{key:20s} {below:4d} {len(p):5d}  {p.mean():5.2f} {effect[:, 0].mean():+8.4f}    {ratio:5.2f} "
            f"{outcomes.count('left'):4d} {sum(bool(t.get('dull')) for t in tests):4d}"
            + ("   ABOVE THE BAR" if marks and below > BAR * len(found) else "")
        )
    any_raw = sum(any(t["p"] < 0.05 for t in r["tests"].values()) for r in found)
    lines.append(f"any p < 5 % without correction: {any_raw} of {len(found)}")
    tested = sum(any(t["outcome"] == "left" for t in r["tests"].values()) for r in found)
    lines.append(
        ", ".join(f"{s} {n}" for s, n in counts.items())
        + f" of {len(found)}; {tested} by a test, {counts['not_verified'] - tested} by utility alone"
    )
    return lines, bool(good)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=KINDS, default="ridge")
    parser.add_argument("--level", choices=("quick", "standard", "strong"), default="standard")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--retrained", type=int, default=0, help="retrained models given to the audit")
    parser.add_argument("--models", type=int, default=8, help="size of the ensembles at level strong")
    parser.add_argument("--method", help="at level strong: run again on each original (`retrain` for the null)")
    parser.add_argument("--groups", choices=("all", "train", "none"), default="all", help="at task persons")
    parser.add_argument("--pool", type=int, help="draw --ours and --models networks from a pool of so many instead")
    parser.add_argument("--ours", type=int, default=8)
    parser.add_argument("--json", help="file for every draw's tests")
    args = parser.parse_args()
    torch.set_num_threads(1)
    kind, started = KINDS[args.task], time.perf_counter()
    if args.pool:
        found = pooled(kind, args.draws, args.seed, args.pool, args.ours, args.models)
    else:
        found = [
            judged(kind, args.seed + k, args.level, args.retrained, args.models, args.method, args.groups)
            for k in range(args.draws)
        ]
    lines, good = table(found)
    print(" ".join(f"{k}={v}" for k, v in vars(args).items() if v is not None and k != "json"))
    print("\n".join(lines))
    print(f"{'kept' if good else 'NOT kept'}: at most {BAR:.1%} of draws; {time.perf_counter() - started:.0f} s")
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"options": vars(args), "draws": found}, file)


if __name__ == "__main__":
    main()
