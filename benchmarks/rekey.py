"""New keys for committed results after a change of code that changes no number, on the evidence of cells run by both.

    efface bench run benchmarks/same.toml --out before        # by the code before, in a checkout of its own
    efface bench run benchmarks/same.toml --out after         # by the code as it is, with another --cache
    python benchmarks/rekey.py --old-source CHECKOUT --evidence before after -- benchmarks/results/tier1

Cells of the two runs must have the keys of the code before and of the code as it is, and the same readings to the last
digit: all but cost, machine and git. Between them they must have run every method of the results. A committed file must
have the key that the code before gives it, so that what was outdated stays so. It gets the new key and a line in
`rekeyed`: the key it had, the modules that changed, and how many cells were compared. All else in it, cost and git
included, is of the code before. Nothing is written where anything is wrong. The suite of a folder is the file of its
name beside this one.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import efface
from efface.bench import sources
from efface.bench.cell import GROUND, JUDGE, cell_key
from efface.bench.results import TUNING
from efface.bench.runner import options_of
from efface.bench.suite import Cell, Setting, Suite, read_suite
from efface.bench.tuning import tuned_for, tuning_key
from efface.errors import RequestError
from efface.methods import REGISTRY

SUITES = Path(__file__).resolve().parent
FEWEST = 10  # cells that must have been compared
PASSING = ("key", "cost", "machine", "git", "tuning", "rekeyed")  # what two runs of a cell may tell differently
Told = dict[str, Any]  # a JSON file
MESSAGES = 5  # of a kind that are told


@dataclass(frozen=True)
class Keys:
    """What one code says: the key of each file, by path, and a hash of each module that keys depend on."""

    source: str  # where its package lies
    keys: Mapping[str, str]
    modules: Mapping[str, str]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old-source", type=Path, required=True, help="a checkout of the code before")
    parser.add_argument("--evidence", type=Path, nargs=2, required=True, metavar=("BEFORE", "AFTER"))
    parser.add_argument("--suites", type=Path, default=SUITES, help="the folder of the suites")
    parser.add_argument("results", type=Path, nargs="+", help="folders of results, each named like its suite")
    args = parser.parse_args(arguments)
    changed, already = rekey(args.old_source, args.evidence, args.results, args.suites)
    print(f"{changed} files have new keys; {already} had them already")


def rekey(old_source: Path, evidence: Sequence[Path], results: Sequence[Path], suites: Path) -> tuple[int, int]:
    """Give the results their new keys; how many files got one, and how many had it. RequestError where refused."""
    folders, pairs = [p.resolve() for p in results], [p.resolve() for p in evidence]
    before, after = keys_by(old_source, folders, pairs, suites), keys_now(folders, pairs, suites)
    problems: list[str] = []
    changed = sorted(m for m in {*before.modules, *after.modules} if before.modules.get(m) != after.modules.get(m))
    if not changed:
        problems.append(f"{old_source}: no module that keys depend on is another one than in {after.source}")
    count, methods = compared(pairs, before.keys, after.keys, problems)
    todo, already = [], 0
    for place in (p for folder in folders for p in _files(folder)):
        told, name = _read(place), str(place)
        method = (told.get("cell") or told.get("tuned") or {}).get("method")
        if name not in after.keys:
            problems.append(f"{place}: is of no cell of its suite")
        elif told.get("key") == after.keys[name]:
            already += 1
        elif told.get("key") != before.keys.get(name):
            problems.append(f"{place}: outdated before: expected key {before.keys.get(name)}, got {told.get('key')}")
        elif method not in methods:
            problems.append(f"{place}: no cell of the evidence ran {method}")
        else:
            todo.append((place, told, after.keys[name]))
    if problems:
        raise RequestError(_few(problems))
    for place, told, key in todo:
        line = {"from": told["key"], "efface": f"changed: {', '.join(changed)}", "evidence": count}
        told |= {"key": key, "rekeyed": [*told.get("rekeyed", []), line]}
        unfinished = place.with_name(f".{place.name}.tmp")
        # as the runner writes it
        unfinished.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        unfinished.replace(place)
    return len(todo), already


def compared(
    pairs: Sequence[Path], before: Mapping[str, str], after: Mapping[str, str], problems: list[str]
) -> tuple[int, set[str]]:
    """How many cells of two folders have the same readings, and the methods they ran; adds what is wrong."""
    files = [{p.name: p for p in _files(folder) if not p.name.endswith(TUNING)} for folder in pairs]
    problems += [f"{name}: is in one folder of the evidence only" for name in sorted(files[0].keys() ^ files[1].keys())]
    count, methods = 0, set()
    for name in sorted(files[0].keys() & files[1].keys()):
        old, new = (_read(of[name]) for of in files)
        for told, place, keys in ((old, files[0][name], before), (new, files[1][name], after)):
            if told.get("key") != keys[str(place)]:
                problems.append(f"{place}: expected the key of its code, {keys[str(place)]}, got {told.get('key')}")
        differing = [k for k in sorted({*old, *new} - {*PASSING}) if _text(old.get(k)) != _text(new.get(k))]
        if differing:
            problems.append(f"{name}: the two runs differ in {', '.join(differing)}: run the results again")
        elif old.get("failed") is None:
            count += 1
            methods.add(old["cell"]["method"])
    if count < FEWEST:
        problems.append(f"evidence: expected {FEWEST} or more cells with the same readings, got {count}")
    return count, methods


def keys_by(source: Path, folders: Sequence[Path], evidence: Sequence[Path], suites: Path) -> Keys:
    """What the code of another checkout says: this file is run on it."""
    place = (source / "src").resolve()
    asked = {"keys": [str(p) for p in folders], "evidence": [str(p) for p in evidence], "suites": str(suites)}
    done = subprocess.run(
        [sys.executable, __file__, "--keys"],
        input=json.dumps(asked),
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise RequestError(f"{source}: gave no keys: {said[0]}")
    found = Keys(**json.loads(done.stdout))
    if not Path(found.source).is_relative_to(place):
        raise RequestError(f"{source}: expected a checkout with src/efface in it, got keys by {found.source}")
    return found


def keys_now(folders: Sequence[Path], evidence: Sequence[Path], suites: Path) -> Keys:
    """What the code that is imported says."""
    keys: dict[str, str] = {}
    for folder in folders:
        suite = read_suite(suites / f"{folder.name}.toml")
        keys |= {str(folder / name): key for name, key in _of_suite(suite, folder).items()}
    for place in (p for folder in evidence for p in _files(folder) if not p.name.endswith(TUNING)):
        try:
            told = _read(place)
            cell = Cell(**{**told["cell"], "setting": Setting(**told["cell"]["setting"])})
            keys[str(place)] = cell_key(cell, told["options"])
        except (KeyError, TypeError) as error:
            raise RequestError(f"{place}: is no cell of the benchmark ({error!r})") from error
    return Keys(str(Path(efface.__file__).parent), keys, _modules())


def _of_suite(suite: Suite, folder: Path) -> dict[str, str]:
    """The key of each file that the suite makes; a tuned cell's options are what its tuning's file holds."""
    keys = {}
    for cell in suite.cells:
        if cell.variant == "tuned" and suite.tuning is not None:
            tuned = tuned_for(cell, suite.tuning)
            place = folder / f"{tuned.name}.json"
            keys[place.name] = tuning_key(tuned, suite.recipes[tuned.method], suite.tuning)
            options = _read(place).get("best") if place.is_file() else None
        else:
            options = options_of(suite, cell, folder)
        if options is not None:
            keys[f"{cell.name}.json"] = cell_key(cell, options)
    return keys


def _modules() -> dict[str, str]:
    """A hash of the syntax of each module that some cell's key depends on."""
    todo, seen = [*JUDGE, *GROUND, *(m.__module__.removeprefix("efface.") for m in REGISTRY.values())], {}
    while todo:
        name = todo.pop()
        if name not in seen and name not in sources.STOP and sources._path(name) is not None:
            seen[name], following = sources._read(name)
            todo += following
    return seen


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.json"))
    if not found:
        raise RequestError(f"{folder}: no results in it")
    return found


def _read(place: Path) -> Told:
    try:
        told: Told = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{place}: cannot be read: {error}") from error
    return told


def _text(value: Any) -> str:
    """Equal for what is equal to the last bit: 0 and -0, 1 and 1.0 are not."""
    return json.dumps(value, sort_keys=True)


def _few(problems: list[str]) -> list[str]:
    first, more = problems[:MESSAGES], len(problems) - MESSAGES
    return first if more <= 0 else [*first[:-1], f"{first[-1]}; and {more} more"]


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["--keys"]:
            asked = json.load(sys.stdin)
            told = keys_now(
                [Path(p) for p in asked["keys"]], [Path(p) for p in asked["evidence"]], Path(asked["suites"])
            )
            print(json.dumps(told.__dict__))
        else:
            main(sys.argv[1:])
    except RequestError as error:
        sys.exit(f"rekey: {error}")
