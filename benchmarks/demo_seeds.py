"""How often the demo ends verified, and doing nothing not verified: python -m benchmarks.demo_seeds [--seeds 0-9]

One line a seed, as `efface demo --seed N` would end, and the counts below. Choices about the demo (data, network,
recipe, request) were made on seeds 100 and more; those that are shown are others.
"""

import argparse
import time
import warnings
from collections import Counter

from efface.cli.demo import run_demo
from efface.cli.pen_demo import pen_setting
from efface.errors import EffaceWarning


def seeds_of(text):
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def worst(report):
    """The deciding test with the largest part of its margin used up, and how much of doing nothing is left by it."""
    able = [t for t in report.tests if not t.uninformative_reason]
    if not able:
        return "no test is informative"
    test = max(able, key=lambda t: max(t.equivalence_interval.high, -t.equivalence_interval.low) / t.margin)
    interval = test.equivalence_interval
    return f"{test.key} {test.original.value:+.3f} -> {interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds_of, default=seeds_of("0-9"), metavar="FIRST-LAST")
    args = parser.parse_args()
    warnings.simplefilter("ignore", EffaceWarning)
    unlearned, nothing, cpu = Counter(), Counter(), []
    print("seed  unlearned     doing nothing  CPU s  test nearest to its margin: doing nothing -> unlearned [90 %]")
    for seed in args.seeds:
        start = time.process_time()
        run = run_demo(pen_setting, seed, "cpu", progress=False)
        cpu.append(time.process_time() - start)
        statuses = str(run.report.verdict.status), str(run.doing_nothing.verdict.status)
        unlearned[statuses[0]] += 1
        nothing[statuses[1]] += 1
        print(f"{seed:4d}  {statuses[0]:13s} {statuses[1]:14s} {cpu[-1]:5.1f}  {worst(run.report)}", flush=True)
    print(f"unlearned: {dict(unlearned)}; doing nothing: {dict(nothing)}; {sum(cpu) / len(cpu):.1f} CPU s each")


if __name__ == "__main__":
    main()
