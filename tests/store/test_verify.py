"""Verifying finds every file that was changed, also beside others at work."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from efface import Task
from efface.errors import RequestError
from efface.store import BusyError, DamagedError, Store, verify
from efface.store.database import Database
from helpers.store_cases import (
    LONG,
    QUICK,
    people,
)
from helpers.store_damage import (
    SEEN,
    ends_well,
    flip,
    keeps_serving,
    refuses,
)

FLIPS = 1500 if LONG else 60


def in_service(path: Path) -> Path:
    return (path / "current.safetensors").resolve()


def superseded(path: Path) -> Path:
    (other,) = set((path / "checkpoints").iterdir()) - {in_service(path)}
    return other


def baseline(path: Path) -> Path:
    return next((path / "baselines").iterdir())


def report_page(path: Path) -> Path:
    return path / "reports/run-0001/report.html"


def report_numbers(path: Path) -> Path:
    return path / "reports/run-0001/report.json"


FILES: dict[str, Callable[[Path], Path]] = {
    "checkpoint in service": in_service,
    "superseded checkpoint": superseded,
    "holdout answers": baseline,
    "report (page)": report_page,
    "report (numbers)": report_numbers,
}


NEEDED_BY_A_RUN = ("checkpoint in service", "holdout answers")


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def cut_to_nothing(file: Path) -> None:
    file.write_bytes(b"")


def a_bit_of(file: Path) -> None:
    flip(file, random.Random(file.stat().st_size).randrange(8 * file.stat().st_size))


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


@pytest.mark.parametrize("harm", (truncated, cut_to_nothing, a_bit_of, longer, Path.unlink), ids=lambda f: f.__name__)
@pytest.mark.parametrize("what", FILES)
def test_a_file_that_was_changed(path: Path, task: Task, weights: str, what: str, harm: Callable[[Path], None]) -> None:
    file = FILES[what](path)
    whole = file.read_bytes()
    harm(file)
    found = Store(path, task).verify(level=None)
    assert [line for line in found.problems if file.name in line] and not found.complete
    assert not any("\n" in line for line in found.problems)
    SEEN[f"{what}: {harm.__name__}", "named", 4] += 1
    if what in NEEDED_BY_A_RUN:
        keeps_serving(path, task, DamagedError, file.name, f"{what}: {harm.__name__}")
    if what == "superseded checkpoint":
        refuses(RequestError, "going back would undo that", "rollback to what forgot nothing", lambda: back(path))
    if what.startswith("report"):
        out = path.parent / "bundle"
        refuses(DamagedError, file.name, f"{what}: {harm.__name__}", lambda: Store(path, task).export(1, out))
        assert not out.exists()
    file.write_bytes(whole)
    file.chmod(0o600)
    ends_well(path, task, weights)


def back(path: Path) -> None:
    Store(path).rollback(1)


def test_any_bit_of_weights_and_reports(path: Path, task: Task) -> None:
    draw = random.Random(1)
    for _ in range(FLIPS // 4):
        what = draw.choice(sorted(FILES))
        file = FILES[what](path)
        bit = draw.randrange(8 * file.stat().st_size)
        flip(file, bit)
        assert [p for p in Store(path, task).verify(level=None).problems if file.name in p], (what, bit)
        SEEN[f"{what}: any bit", "named", 4] += 1
        flip(file, bit)
    assert Store(path, task).verify(level=None).problems == ()


def test_verifying_beside_others_at_work_finds_no_damage(
    path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, times = Database.faults, []

    def slow(*given: Any) -> Any:
        if not times:
            Store(path, task).add(people([77]))
        elif len(times) == 1:
            Store(path, task).run(QUICK)
        times.append(1)
        return real(*given)

    monkeypatch.setattr(Database, "faults", slow)
    found = Store(path, task).verify(level=None)
    assert (found.problems, len(times)) == ((), 3)
    assert found.checked["requests"] == 4

    def never_quiet(*given: Any) -> Any:
        times.append(1)
        Store(path, task).add(people([80 + len(times)]))
        return real(*given)

    monkeypatch.setattr(Database, "faults", never_quiet)
    with pytest.raises(BusyError, match="try again when it is quieter"):
        Store(path, task).verify(level=None)


def test_a_key_that_others_may_read_is_named(path: Path, task: Task) -> None:
    path.with_name(f"{path.name}.key").chmod(0o644)
    assert any(".key: others than its owner may read it" in w for w in Store(path, task).verify(level=None).warnings)


@pytest.mark.parametrize(
    ("call", "problems"),
    [
        ({"level": "x"}, ["level: expected one of quick, standard, strong, got 'x'"]),
        ({"references": 0}, ["references: expected an integer of 1 or more, got 0"]),
        ({"references": True, "level": None}, ["references: expected an integer of 1 or more, got True"]),
        ({"original": "x"}, ["original: expected a torch.nn.Module, got str"]),
        ({"level": 3, "references": "4", "original": {}}, ["level: ", "references: ", "original: "]),
    ],
)
def test_a_wrong_call_is_refused_before_any_work(
    call: dict[str, Any], problems: list[str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "inspect", lambda context: pytest.fail("began to work"))
    with pytest.raises(RequestError) as refused:
        store.verify(**call)
    assert [p[: len(q)] for p, q in zip(refused.value.problems, problems, strict=True)] == problems


def test_a_strong_audit_without_fit_is_refused_before_any_work(store: Store, task: Task) -> None:
    with pytest.raises(RequestError, match="level strong trains models as the original was trained: give"):
        Store(store.path, replace(task, fit=None)).verify(level="strong")
