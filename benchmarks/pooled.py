"""Error rates and power of the pooled statement on a process, over 100 runs that share one holdout, on drawn scores.

    python -m benchmarks.pooled

Each draw is the life of a store. A holdout is drawn once; a quarter of it is the audit's, as in runs of efface, and all
runs share it. Each run forgets some records. A score is made of its record's difficulty and a rest; four fifths of the
variance of a never-seen record's rest are its own and stay from model to model, so what makes it score high does so in
all runs. Difficulty is measured with error. The records of a run have a noise in common, which moves their AUC by about
0.08. Before each run the records have an effect of 0.25. After it they have none (a retrained process), that of the
margin, or what they had (nothing erased). The statement is looked at after every run.

Columns, in per cent of lives: false alarms where there is no effect; false clearances at the margin, and where nothing
was erased; then how many came to the right conclusion within all runs, with the median number of runs that it took; and
how many of the audit's never-seen records have not served as partners in the end. The last two are what the same rule
says of plain ranks among all of the audit's holdout, as if ranks of different runs were independent. Bars: false alarms
and false clearances in at most 5 % of lives each. One CPU thread, NumPy alone.
"""

import argparse
import math
import time

import numpy as np

from efface.auditing.config import AUC_MARGIN, TOLERANCE
from efface.metrics.confidence_sequence import SHARES, STAKES

ALPHA, SHARE, HOLDOUT_SHARE = 0.05, 50, 0.25
OWN, MEASURED, COMMON, BEFORE = 0.8, 0.3, 0.3, 0.25
SLOPE = 1.5  # of scores on difficulty
CHOSEN = 1.0  # difficulty of records that are picked for it, in standard deviations of that of all
COLUMNS = (
    *("holdout", "records a run", "false alarms", "false clearances, margin", "false clearances, nothing erased"),
    *("retrained: cleared", "margin: alarm", "nothing erased: alarm", "never-seen records left"),
    *("shared: false alarms", "shared: false clearances"),
)


def window_width(nonmembers):
    return min(nonmembers, 50, max(10, nonmembers // 10))


def windows(at, ordered, width):
    """Positions (draws, n, width) of the nearest by rank among ordered difficulties (draws, m)."""
    middle = (ordered[:, None, :] < at[:, :, None]).sum(2)
    start = np.clip(middle - width // 2, 0, ordered.shape[1] - width)
    return start[:, :, None] + np.arange(width)


def levelled(among, at, difficulty):
    away = difficulty - difficulty.mean(2, keepdims=True)
    slope = (away * among).sum(2) / np.maximum((away**2).sum(2), 1e-30)
    inside = np.clip(at, difficulty.min(2), difficulty.max(2))
    return among + slope[:, :, None] * (inside[:, :, None] - difficulty)


def pick(window, distance, free, each, count):
    """Partners of one record in every draw, as a mask over its window (draws, width); they are free no more."""
    cost = np.where(np.take_along_axis(free, window, 1), distance, np.inf)
    order = cost.argsort(1, kind="stable").argsort(1, kind="stable")
    chosen = (order < np.minimum(each, count)[:, None]) & np.isfinite(cost)
    rows, columns = np.nonzero(chosen)
    free[rows, window[rows, columns]] = False
    return chosen


def excess(scores, among, able, masks, width):
    """Mean rank of records less that of partners, and the plain one less 0.5, (draws,); NaN where none is able."""
    below = among < scores[:, :, None]
    plain, sums, pairs = below.mean(2), np.zeros(len(scores)), np.zeros(len(scores))
    own = plain.copy()
    for record, mask in masks:
        times = mask.sum(1)
        without = (below[:, record].sum(1)[:, None] - below[:, record]) / (width - 1)
        own[:, record] = np.where(times > 0, (without * mask).sum(1) / np.maximum(times, 1), own[:, record])
        beside = (among[:, record][:, None, :] < among[:, record][:, :, None]).sum(2) / (width - 1)
        sums += (beside * mask).sum(1)
        pairs += times
    with np.errstate(invalid="ignore", divide="ignore"):
        return (own * able).sum(1) / able.sum(1) - sums / pairs, plain.mean(1) - 0.5


def shift_for(effects, rng, draws=400, nonmembers=250):
    """How far scores have to move for the given effects on the AUC at equal difficulty."""
    hold, ordered, own = holdout(draws, nonmembers, rng)
    at, scores = records(draws, 20, rng)
    window = windows(at, ordered, window_width(nonmembers))
    never = never_seen(hold, own, rng)
    among = levelled(taken(never, window), at, taken(ordered, window))
    moved = scores + COMMON * rng.normal(size=(draws, 1))
    return {e: -float(np.quantile(moved[:, :, None] - among, 0.5 - e)) for e in effects}


def holdout(draws, nonmembers, rng):
    """Difficulties of the audit's never-seen records, in the order in which they are measured, and their own rest."""
    real = rng.normal(size=(draws, nonmembers))
    measured = real + MEASURED * rng.normal(size=real.shape)
    order = measured.argsort(1)
    return np.take_along_axis(real, order, 1), np.take_along_axis(measured, order, 1), rng.normal(size=real.shape)


def never_seen(real, own, rng):
    return SLOPE * real + math.sqrt(OWN) * own + math.sqrt(1 - OWN) * rng.normal(size=real.shape)


def records(draws, n, rng, chosen=False):
    """Measured difficulties and scores of records that no model saw; chosen ones are picked for their difficulty."""
    real = CHOSEN + 0.5 * rng.normal(size=(draws, n)) if chosen else rng.normal(size=(draws, n))
    return real + MEASURED * rng.normal(size=real.shape), SLOPE * real + rng.normal(size=real.shape)


def taken(values, window):
    return (
        np.take_along_axis(values[:, None, :], window, 2) if window.ndim == 3 else np.take_along_axis(values, window, 1)
    )


def lives(nonmembers, n, looks, draws, shifts, rng, chosen=False):
    """Of every run: effects beside partners before and after it, and plain ones, (draws, looks); partners left.

    With the effects of before stand the mean ranks of the records' difficulty less 0.5, as `difficulty`.
    """
    real, ordered, own = holdout(draws, nonmembers, rng)
    width, free = window_width(nonmembers), np.ones((draws, nonmembers), bool)
    found = {key: np.empty((draws, looks)) for key in ("before", *shifts)}
    plain = {key: np.empty((draws, looks)) for key in found}
    ranks = np.empty((draws, looks))
    for look in range(looks):
        at, scores = records(draws, n, rng, chosen)
        window = windows(at, ordered, width)
        ranks[:, look] = (ordered[:, None, :] < at[:, :, None]).mean((1, 2)) - 0.5
        difficulty = taken(ordered, window)
        among = levelled(taken(never_seen(real, own, rng), window), at, difficulty)
        able = np.stack([taken(free, window[:, k]).any(1) for k in range(n)], 1)
        count = np.maximum(1, free.sum(1) // SHARE)
        each, masks = np.maximum(1, count // n), []
        for record in rng.permutation(n):
            if not count.any():
                break
            distance = np.abs(difficulty[:, record] - at[:, record, None])
            masks.append((record, pick(window[:, record], distance, free, each, count)))
            count -= masks[-1][1].sum(1)
        common = COMMON * rng.normal(size=(draws, 1))
        for key in found:
            moved = scores + (shifts[BEFORE] if key == "before" else shifts[key]) + common
            found[key][:, look], plain[key][:, look] = excess(moved, among, able, masks, width)
    for kind in (found, plain):
        kind["difficulty"] = ranks
    return found, plain, free.sum(1)


def log_capital(values, mean, above):
    """Of every draw after every look, (draws, looks), as `confidence_sequence.log_capital`; NaN is no value."""
    gains = (values - mean) / mean if above else (mean - values) / (1 - mean)
    logs = np.stack([np.log1p(stake * np.nan_to_num(gains)).cumsum(1) for stake in STAKES])
    logs += np.log(SHARES)[:, None, None]
    largest = logs.max(0)
    return largest + np.log(np.exp(logs - largest).sum(0))


def conclusions(found, after, nonmembers, most=1.0):
    """Whether every look says that records are still known, and that they are not, (draws, looks) each."""
    needed = math.log(1 / ALPHA)

    def excluded(values, effect, above):
        """Whether the sequence of effects from -most to most lies above or below an effect."""
        return log_capital((1 + values / most) / 2, (1 + effect / most) / 2, above) >= needed

    def side(tolerance):
        alarm = excluded(found[after], tolerance, True)
        room = AUC_MARGIN - tolerance
        return alarm, excluded(found[after], room, False) & excluded(found[after], -room, True) & ~alarm

    ranks, by_chance = found["difficulty"] + 0.5, 2 / math.sqrt(12 * nonmembers)
    chosen = log_capital(ranks, 0.5 + by_chance, True) >= needed
    chosen |= log_capital(ranks, 0.5 - by_chance, False) >= needed
    alarm, cleared = (np.where(chosen, *both) for both in zip(side(TOLERANCE), side(0.0), strict=True))
    return alarm, cleared & excluded(found["before"], AUC_MARGIN, True)


def share(said):
    """Per cent of draws in which some look says it."""
    return 100 * said.any(1).mean()


def reached(said):
    """Per cent of draws in which some look says it, and the median look of the first, if half of the draws say it."""
    first = np.where(said.any(1), said.argmax(1) + 1, np.inf)
    return f"{share(said):3.0f} ({np.median(first):.0f})" if np.median(first) < np.inf else f"{share(said):3.0f} (-)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--looks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--chosen", action="store_true", help="requests for records that are picked for their difficulty"
    )
    parser.add_argument("--holdout", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--records", type=int, nargs="+", default=[1, 3, 10])
    args = parser.parse_args()
    started, good = time.perf_counter(), True
    effects = (0.0, AUC_MARGIN, BEFORE)
    shifts = shift_for(effects, np.random.default_rng(args.seed))
    print(f"{args.draws} lives of {args.looks} runs: per cent of them, in brackets the median number of runs")
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for size in args.holdout:
        for n in args.records:
            rng = np.random.default_rng([args.seed, size, n])
            sizes = round(HOLDOUT_SHARE * size), n, args.looks, args.draws
            found, plain, left = lives(*sizes, shifts, rng, args.chosen)
            said = {e: conclusions(found, e, sizes[0]) for e in effects}
            naive = {e: conclusions(plain, e, sizes[0], 0.5) for e in effects}
            wrong = share(said[0.0][0]), share(said[AUC_MARGIN][1]), share(said[BEFORE][1])
            good &= max(wrong) <= 100 * ALPHA
            cells = [f"{size:,}", str(n), *(f"{w:.1f}" for w in wrong), reached(said[0.0][1])]
            cells += [reached(said[AUC_MARGIN][0]), reached(said[BEFORE][0]), f"{left.mean():.0f}"]
            cells += [f"{share(naive[0.0][0]):.1f}", f"{share(naive[AUC_MARGIN][1]):.1f}"]
            print("| " + " | ".join(cells) + " |", flush=True)
    seconds = time.perf_counter() - started
    print(f"{'kept' if good else 'NOT kept'}: at most {ALPHA:.0%} of lives; {seconds:.0f} s")


if __name__ == "__main__":
    main()
