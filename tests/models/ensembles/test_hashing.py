"""Hashes of recipes: whatever holds a changed value has another hash, and the same one in every process."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sklearn
from sklearn.linear_model import LinearRegression

from efface.models.ensembles.hashing import UnhashableError, content_hash
from helpers import recipe_kinds
from helpers.recipe_kinds import KINDS, Trainer, decorated, hashes, holding


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_value_has_another_hash(kind: str) -> None:
    make = KINDS[kind]
    assert content_hash(make(1)) == content_hash(make(1)) != content_hash(make(2))


def test_hashes_are_the_same_in_every_process() -> None:
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    code = "import json; from helpers.recipe_kinds import hashes; print(json.dumps(dict(hashes(1))))"
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "11"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(there.stdout) == dict(hashes(1))


@pytest.mark.parametrize("hold", [lambda noted: holding(noted), lambda noted: Trainer(noted).fit, lambda noted: noted])
def test_what_is_changed_in_place_counts(hold: Callable[[Any], Any]) -> None:
    for noted, change in (([1], lambda v: v.append(2)), ({"a": 1}, lambda v: v.update(a=2)), ({1}, lambda v: v.add(2))):
        fit = hold(noted)
        before = content_hash(fit)
        change(noted)  # type: ignore[no-untyped-call]
        assert content_hash(fit) != before


def test_names_count_whatever_name_a_decorator_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = decorated(1)
    before = content_hash(fit)
    monkeypatch.setitem(recipe_kinds.NOTED, "epochs", 2)
    assert content_hash(fit) != before


def test_the_version_of_an_installed_package_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = holding(LinearRegression())
    before = content_hash(fit)
    monkeypatch.setattr(sklearn, "__version__", "0.1")
    assert content_hash(fit) != before


@pytest.mark.parametrize("held", [threading.Lock(), (i for i in range(3)), threading.local()])
def test_what_cannot_be_told_is_refused(held: Any) -> None:
    for fit in (holding(held), Trainer([held]).fit, holding({"a": held})):
        with pytest.raises(UnhashableError):
            content_hash(fit)
