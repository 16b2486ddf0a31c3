"""What counting records instead of persons does to the intervals of AUCs at equal difficulty, on drawn scores.

    python -m benchmarks.judge.persons

Each person has 1 to 20 records, whose difficulties and scores correlate by --likeness within a person. No model knows
any of them, so an interval of 95 % should exclude "no effect" in 5 % of draws. Columns: the share of draws in which it
does if records are counted, if the persons of forget records are (Task.groups), and if those of never-seen records
are too (Task.holdout_groups); the mean half width of the last; and how often the last covers a known effect, of one
standard deviation of the score. One CPU thread.
"""

import argparse
import math
from dataclasses import replace

import torch
from scipy.stats import norm

from efface.metrics.membership import conditional_auc

CASES = ((30, 300), (30, 60), (100, 60), (100, 30), (10, 60), (3, 60))


def persons(count, likeness, generator, largest=20):
    """Scores, difficulties and persons of records."""
    of = torch.repeat_interleave(torch.arange(count), torch.randint(1, largest + 1, (count,), generator=generator))

    def drawn():
        own, common = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (len(of), count))
        return likeness**0.5 * common[of] + (1 - likeness) ** 0.5 * own

    difficulty = drawn()
    return difficulty + drawn(), difficulty, of


def measured(forgotten, never_seen, likeness, draws, seed=0):
    """Shares of draws that exclude no effect, by what is counted; mean half width; share that covers a known effect."""
    generator = torch.Generator().manual_seed(seed)
    excluded, half, covered = [0, 0, 0], 0.0, 0
    truth = float(norm.cdf(1 / math.sqrt(2)))
    for _ in range(draws):
        forget, d_f, of = persons(forgotten, likeness, generator)
        others, d_o, of_others = persons(never_seen, likeness, generator)
        scored = conditional_auc(forget, others, d_f, d_o)
        for k, clusters in enumerate(((None, None), (of, None), (of, of_others))):
            found = replace(scored, clusters=clusters).effect().estimate(0.95)
            excluded[k] += found.excludes(0.0)
        half += (found.high - found.low) / 2
        known = conditional_auc(forget - d_f + 1, others - d_o, clusters=(of, of_others))
        covered += not known.estimate(0.95).excludes(truth)
    return [*(n / draws for n in excluded), half / draws, covered / draws]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--likeness", type=float, nargs="+", default=[0.0, 0.5, 0.9])
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("forgotten never-seen likeness | records  forgotten persons  all persons | half width  covers a known effect")
    for forgotten, never_seen in CASES:
        for likeness in args.likeness:
            rows, some, every, half, covered = measured(forgotten, never_seen, likeness, args.draws)
            shares = f"{rows:7.3f} {some:18.3f} {every:12.3f} | {half:10.3f} {covered:22.3f}"
            print(f"{forgotten:9d} {never_seen:10d} {likeness:8.1f} | {shares}", flush=True)


if __name__ == "__main__":
    main()
