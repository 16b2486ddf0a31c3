"""One process that makes a store and forks a child for each kill of a retirement, as store_forks.py does for runs.

`python retire_forks.py FOLDER CASES`: CASES is a JSON list of lists of points; each point's child dies there. What was
seen of each case is written to FOLDER/seen.json.
"""

import json
import signal
import sys
from pathlib import Path

import pytest
import torch

from efface import RequestError
from efface.store import Stage, Store, failpoints
from helpers.hasty import undrawn
from helpers.store_cases import IDS, all_bytes, broken_files, copied, kinds, make_grown, people
from helpers.store_forks import ended, started
from helpers.tiny import make_tiny


def key_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.key")


def retire_and_die(path: Path, point: str) -> int:
    """How a child ended that was to die at a point of the retirement."""

    def work() -> None:
        failpoints.arm(point)
        Store(path).retire()

    return ended(started(work))


def wrong_between(path: Path, secret: bytes) -> list[str]:
    """What is wrong with a store whose retirement was killed, one line each."""
    store, wrong = Store(path), broken_files(path)
    seen = store.status()
    if "retiring" not in kinds(store):
        return [*wrong, *(["it says that it is retired"] if seen.retired or seen.unfinished_retirement else [])]
    if seen.pending or store.ids(2) or not seen.retired:
        wrong.append(f"it goes on: {seen.pending}, {store.ids(2)}, {seen.retired}")
    left = " ".join(seen.unfinished_retirement)
    there = key_of(path).exists()
    if bool(left) != there or (str(key_of(path)) in left) != there:
        wrong.append(f"what is left is said to be {left!r}, and the key is there: {there}")
    if there and key_of(path).read_bytes() == secret:
        wrong += [f"{line} is a problem" for line in store.verify(level=None).problems if "puts that right" not in line]
        try:
            store.cancel(1)
            wrong.append("a request could be cancelled")
        except RequestError as error:
            if "retire" not in str(error) and "honoured" not in str(error):
                wrong.append(str(error))
    return wrong


def wrong_in_the_end(path: Path, cancelled: list[int]) -> list[str]:
    """What is wrong with a store whose retirement is finished, one line each."""
    store, wrong = Store(path), broken_files(path)
    seen = store.status()
    if seen.unfinished_retirement or not seen.retired or "not finished" in seen.retired:
        wrong.append(f"not finished: {seen.retired}, {seen.unfinished_retirement}")
    if key_of(path).exists():
        wrong.append("the key is still there")
    stages = [r.stage for r in store.requests()]
    if stages != [Stage.HONOURED, Stage.CANCELLED, Stage.CANCELLED] or cancelled != [2, 3]:
        wrong.append(f"requests are {stages}, and {cancelled} were cancelled")
    found = kinds(store)
    if found.count("retiring") != 1 or found.count("retired") != 1 or found.count("cancelled") != 2:
        wrong.append(f"events are doubled or missing: {found}")
    held = all_bytes(path)
    wrong += [f"{file} holds an id" for file, content in held.items() if any(name.encode() in content for name in IDS)]
    weights = [file for file in held if file.startswith("checkpoints/")]
    if weights != [f"checkpoints/{seen.serving.file}.safetensors"]:
        wrong.append(f"weights are {weights}")
    if store.retire() != [2, 3]:
        wrong.append("retiring again says something else")
    return wrong


def main(folder: Path, cases: list[list[str]]) -> None:
    torch.set_num_threads(1)
    undrawn(pytest.MonkeyPatch())
    made = make_grown(folder / "store", make_tiny(), grace_days=30)
    half = made.path / "checkpoints" / ".new.safetensors"  # as an interrupted run leaves it
    half.write_bytes(f"half a model of {people([5])[0]}".encode())
    secret, seen = made.key_path.read_bytes(), []
    for number, points in enumerate(cases):
        path = copied(made.path, folder / f"case-{number}")
        codes, wrong = [], []
        for point in points:
            codes.append(retire_and_die(path, point))
            wrong += [f"after {point}: {line}" for line in wrong_between(path, secret)]
        wrong += wrong_in_the_end(path, Store(path).retire())
        seen.append({"killed": [code == -signal.SIGKILL for code in codes], "codes": codes, "wrong": wrong})
    (folder / "seen.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
