"""Warnings: each once, of efface's own category, at the line of the caller; and none where they are shown otherwise."""

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import efface
from efface import EffaceWarning
from efface.runtime.notices import quietly, warn_caller
from efface.store import Store
from helpers.command_line import SMALL, UNLEARN, make_workshop, run
from helpers.memorised import FORGET, Memorised
from helpers.store_cases import QUICK, people, task_of
from helpers.tiny import REFERENCE, Tiny

OPTIONS = efface.UnlearnOptions(reference=REFERENCE, checks=False)
NOT_LOOKED = (
    "the pass over all records was off: twins, shared records and NaN were not looked for, nor whether the model "
    "knows its records"
)


def heard(call: Callable[[], Any]) -> tuple[Any, list[warnings.WarningMessage]]:
    """What a call gives, and every warning of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return call(), caught


def texts(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(w.message) for w in caught]


def test_a_runs_warnings_are_emitted_once_at_the_callers_line(tiny: Tiny) -> None:
    result, caught = heard(
        lambda: efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(), method="noop", options=OPTIONS)
    )
    assert NOT_LOOKED in result.warnings and texts(caught) == list(result.warnings)
    assert {w.category for w in caught} == {EffaceWarning} and issubclass(EffaceWarning, UserWarning)
    assert {w.filename for w in caught} == {__file__}, "at the caller's line"
    lines = Path(__file__).read_text().splitlines()
    assert all("efface.unlearn(tiny.model" in lines[w.lineno - 1] for w in caught)


def test_an_audit_warns_of_what_the_run_did_not(known: Memorised) -> None:
    report, caught = heard(lambda: efface.audit(known.steered, level="quick", seed=9))
    own = [note for note in report.notes if note not in known.steered.warnings]
    assert "the audit drew from seed 9" in own, "a remark"
    assert texts(caught) == [note for note in own if "drew from seed" not in note]
    report, caught = heard(
        lambda: efface.audit_models(known.original, known.original, forget=FORGET, task=known.task, level="quick")
    )
    assert texts(caught) == list(report.notes) and any("bit for bit" in text for text in texts(caught))
    assert {w.filename for w in caught} == {__file__}


def test_a_program_may_turn_them_into_errors_or_ignore_them(tiny: Tiny) -> None:
    call = {"forget": tiny.forget, "task": tiny.task(), "method": "noop", "options": OPTIONS}
    with warnings.catch_warnings():
        warnings.simplefilter("error", EffaceWarning)
        with pytest.raises(EffaceWarning, match="the pass over all records was off"):
            efface.unlearn(tiny.model, **call)
        warnings.simplefilter("ignore", EffaceWarning)
        efface.unlearn(tiny.model, **call)


def test_a_stores_run_warns_with_ids_in_place_of_tags(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    store.add(people([5, 7, 9]))
    outcome, caught = heard(lambda: store.run(QUICK))
    assert outcome.warnings and texts(caught) == list(dict.fromkeys(outcome.warnings))
    assert {w.filename for w in caught} == {__file__}


def test_the_command_line_prints_each_once_as_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_workshop(tmp_path)
    monkeypatch.chdir(tmp_path)
    result, caught = heard(lambda: run(*UNLEARN, *SMALL, "--no-checks", "--no-audit"))
    assert result.stdout.count(NOT_LOOKED) == 1 and f"Note: {NOT_LOOKED}" in result.stdout
    assert not [w for w in caught if w.category is EffaceWarning] and NOT_LOOKED not in result.stderr


def test_equal_lines_are_one_warning_and_quiet_is_for_one_thread() -> None:
    assert texts(heard(lambda: warn_caller(["a", "b", "a"]))[1]) == ["a", "b"]

    def elsewhere() -> None:
        with quietly():
            warn_caller(["nobody hears this"])
            other = threading.Thread(target=lambda: warn_caller(["from another thread"]))
            other.start()
            other.join()
        warn_caller(["after"])

    assert texts(heard(elsewhere)[1]) == ["from another thread", "after"]
