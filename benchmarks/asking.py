"""What commands that make requests of one problem share: their words, their request, and saying how far they are."""

import argparse
import sys
from pathlib import Path

from benchmarks.harness.problems import problem
from benchmarks.harness.requests import make_request


def parser(doc, models, retrained):
    """A parser of the common words; `models` and `retrained` are the numbers of models where they are not given."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("problem", help="a problem of the benchmark, such as fashion")
    found.add_argument("--records", type=int, help="training records; the problem's usual number by default")
    found.add_argument("--draw", type=int, default=2, help="which records are drawn; 2 by default, as in the tables")
    found.add_argument("--models", type=int, default=models, help=f"originals, {models} by default")
    found.add_argument("--retrained", type=int, default=retrained, help=f"retrained models, {retrained} by default")
    found.add_argument("--cache", type=Path, default=Path(".cache/bench"), help="keeps trained models, as suites do")
    return found


def drawn(args, share, kind="random"):
    """The request of a share of the records, and the folder of models."""
    chosen, cache = problem(args.problem), args.cache / "models"
    return make_request(chosen, args.records or chosen.usual, kind, share, args.draw, cache), cache


def say(words):
    """How far a command is, on standard error."""
    print(words, file=sys.stderr, flush=True)


def titled(args, request, what):
    """The first line of what a command prints."""
    return (
        f"{args.problem}, {request.records:,} records, draw {args.draw}: {what}; "
        f"{args.models} originals, {args.retrained} retrained models"
    )
