"""Our scores beside their authors' public code, on the same seeded numbers: prints the greatest differences.

    python -m benchmarks.judge.agreement --klom ../EasyDUB-code --klom ../data-unlearning-bench \\
        --rmia ../ml_privacy_meter --ulira ../data-unlearning-bench --epsilon ../unlearning_evaluation

Each option takes a local clone: github.com/easydub/EasyDUB-code, RoyRin/data-unlearning-bench (for --ulira with its
history), privacytrustlab/ml_privacy_meter, google-deepmind/unlearning_evaluation. What is not given is skipped. Only
the named functions are taken out of a clone and run, and nothing of it is kept: their modules import what is not
needed here. One CPU, about a minute.
"""

import argparse
import re
import subprocess
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from efface.attacks.outputs import RecordOutputs
from efface.attacks.rmia import OFFLINE, rmia
from efface.attacks.ulira import ulira
from efface.metrics.epsilon import unlearning_epsilon
from efface.metrics.klom import klom

ULIRA = "09aa166603c81934602baa2afb50784bfafce4e4:unlearning/auditors/ulira/ulira.py"  # not in the newest commit


def functions(source, *names, **known):
    """The named top-level functions of `source`, which see only numpy, torch, scipy and `known`."""
    space = {"np": np, "torch": torch, "ch": torch, "stats": stats, "norm": stats.norm, **known}
    for name in names:
        found = re.findall(
            rf"^def {name}\(.*?(?=^(?:def|class|if|import|from|#)\b|\Z)", source, re.DOTALL | re.MULTILINE
        )
        exec("from typing import *\n" + found[-1], space)
    return [space[name] for name in names]


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ensembles(k, r, n, shift=0.5):
    """Margins of k unlearned and r retrained models: each record has a mean and a spread of its own."""
    mean, spread = 4 * normal(n, seed=0), (0.5 * normal(n, seed=1)).exp()
    return mean + spread * (0.8 * normal(k, n, seed=2) + shift), mean + spread * normal(r, n, seed=3)


def compare_klom(clone):
    source = next(p for p in (clone / "easydub/eval.py", clone / "unlearning_bench/eval.py") if p.exists()).read_text()
    name = "binned_kl_divergence" if "def binned_kl_divergence" in source else "compute_binned_KL_div"
    (theirs,) = functions(source, name)
    for k in (32, 64, 256):
        ours, retrained = ensembles(k, k, 500)
        expected = [theirs(a, b) for a, b in zip(ours.T.numpy(), retrained.T.numpy(), strict=True)]
        gap = np.abs(klom(ours, retrained).numpy() - expected).max()
        print(f"KLoM, {clone.name}: {k} + {k} models, 500 records: greatest difference {gap:.1e}")


def compare_rmia(clone):
    source = (clone / "modules/mia/attacks/rmia.py").read_text()
    _, theirs = functions(source, "get_out_ref_signals", "run_rmia", Any=object, Optional=dict)
    n, z, refs, classes = 400, 700, 4, 10
    targets = torch.arange(n + z) % classes
    lift = torch.nn.functional.one_hot(targets, classes)
    base = 2 * normal(n + z, classes, seed=0) + lift
    views = [RecordOutputs(base + normal(n + z, classes, seed=s + 1), targets, None) for s in range(1 + refs)]
    views[0].logits[:n] += 0.5 * lift[:n]
    score = rmia(views[0], views[1:])
    signals = torch.stack([v.logits.softmax(1).gather(1, targets[:, None])[:, 0] for v in views], 1).numpy()
    none = np.zeros((n, refs), dtype=bool)
    counts = theirs(signals[:n, 0], signals[:n, 1:], none, signals[n:, 0], signals[n:, 1:], OFFLINE, refs)
    shares = (score[:n, None] > score[None, n:]).double().mean(1).numpy()
    print(f"RMIA: share of {z} population records exceeded: greatest difference {np.abs(shares - counts).max():.1e}")
    order = score[:n].numpy()
    against = ((order[:, None] > order[None]) & (counts[:, None] < counts[None])).sum()
    tied = ((order[:, None] > order[None]) & (counts[:, None] == counts[None])).sum()
    print(f"RMIA: of {n * (n - 1) // 2} pairs, {against} in the other order, {tied} tied in their count alone")
    auc = torch.from_numpy(shares).mean()
    print(f"RMIA: AUC against the population, ours {auc:.6f}, mean of their counts {counts.mean():.6f}")


def compare_ulira(clone):
    source = subprocess.run(["git", "-C", clone, "show", ULIRA], capture_output=True, text=True, check=True).stdout
    _, single = functions(source, "gaussian_probability", "single_ulira")
    for k in (8, 12):
        ours, retrained = ensembles(k, k, 60)

        def guesses(mine, other, k=k):  # each pair left out, as here; their own code leaves out one of `mine` alone
            return np.mean([single(mine, np.delete(other, j, 0), i) for i in range(k) for j in range(k)])

        expected = (guesses(ours, retrained) + guesses(retrained, ours)) / 2
        alone = np.mean([single(ours, retrained, i) for i in range(k)])
        found = ulira(ours, retrained, shrink=False).accuracy  # with the paper's variances
        print(f"U-LiRA: {k} + {k} models: accuracy {found:.4f}, of theirs with pairs left out {expected:.4f}, ", end="")
        print(f"difference {abs(found - expected):.1e}; theirs, of unlearned models alone, {alone:.4f}")


def compare_epsilon(clone):
    source = (clone / "metric.py").read_text()
    # as released it needs a GPU, and stops at a condition on a whole array
    source = source.replace(".cuda()", "").replace("assert thr_eps,", "assert len(thr_eps),")
    names = "_get_double_threshold_rates", "_get_single_threshold_rates", "_get_epsilons"
    ours, retrained = ensembles(16, 16, 20)
    found = unlearning_epsilon(ours, retrained).numpy()
    for grid in (25, 100, 200):
        *_, theirs = functions(source, *names, NUM_THRESHOLDS_PER_UNIT=grid, EPSILON_CAP=50)
        # the positive kind of a record has the greater median
        swap = np.median(retrained, axis=0) > np.median(ours, axis=0)
        positive = np.where(swap, retrained, ours)
        with np.errstate(all="ignore"):
            expected = theirs(positive, np.where(swap, ours, retrained), 1e-5)
        gap = found - expected
        print(f"epsilon, grid of 1/{grid}: greatest difference {np.abs(gap).max():.1e}, ", end="")
        print(f"ours less {(gap < -1e-5).sum()} and more {(gap > 1e-5).sum()} of {len(gap)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    compared = {"klom": compare_klom, "rmia": compare_rmia, "ulira": compare_ulira, "epsilon": compare_epsilon}
    for name in compared:
        parser.add_argument(f"--{name}", type=Path, action="append", default=[], metavar="PATH")
    given = vars(parser.parse_args())
    torch.set_num_threads(1)
    for name, compare in compared.items():
        for clone in given[name]:
            compare(clone)
        if not given[name]:
            print(f"{name}: skipped, --{name} PATH is not given")


if __name__ == "__main__":
    main()
