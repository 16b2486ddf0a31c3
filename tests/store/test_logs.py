"""What a store logs: every event and its counts, and never an id, a tag, a note or what a user's code says."""

import io
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from efface import RequestError
from efface.store import DriftLimits, Store, StoreSettings, failpoints
from efface.store.entries import Event
from efface.store.files import Folder
from efface.store.keys import short_tag
from efface.store.logs import log_events
from helpers.store_cases import ANEW, AUDITED, QUICK, child_environment, context_of
from helpers.store_secrets import ASKED, secret_task, written
from helpers.tiny import Tiny

NOTE = "a letter of a person who is not to be named"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Everything that the package logs, with tracebacks, as a service may keep it."""
    kept, logger = io.StringIO(), logging.getLogger("efface")
    handler = logging.StreamHandler(kept)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s %(args)s"))
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield kept
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_life_is_logged_without_naming_anybody(tmp_path: Path, tiny: Tiny, lines: io.StringIO) -> None:
    task = secret_task(tiny)
    settings = StoreSettings(grace_days=0, limits=DriftLimits(1.0, 1.0))
    (tmp_path / "home").mkdir()
    store = Store.create(tmp_path / "home" / "store", task, tiny.model, settings=settings)
    store.add(ASKED, note=NOTE, due="2999-01-01")
    store.add(ASKED, note=f"{NOTE} again")
    store.add(ASKED[:2])
    store.cancel(2)
    tags = {short_tag(context_of(store).key.tag(name)) for name in ASKED}

    def fails(*_: Any) -> Any:
        raise ValueError(f"raised of {ASKED[0]}")

    with pytest.raises((RequestError, ValueError)):
        Store(store.path, replace(task, forward=fails)).run(QUICK)
    failpoints.arm("run.made:full")
    with pytest.raises(OSError, match="No space"):
        store.run(AUDITED)
    failpoints.disarm()
    store.run(AUDITED)
    store.add([ASKED[0]])
    store.verify(references=1)
    store.export(1, tmp_path / "bundle")
    store.run(ANEW)
    store.retire()
    said = lines.getvalue()
    for words in (
        "INFO efface.store store 'store': event 1, created: made for 300 training records",
        "event 3, requested: request 1 added with 5 records, due 2999-01-01",
        "amended: request 1 has another date or a further note",
        "cancelled: request 2 cancelled, and its ids deleted",
        "began from version 1 with 1 request: method steer",
        "WARNING efface.store store 'store': event",
        "goes on where it was interrupted",
        "version 2 in service, unlearned by run",
        "covered: request 3 honoured by version 2",
        "INFO efface.unlearning unlearning by steer: 5 of 300 training records began",
        "INFO efface.auditing audit of level standard began",
        "removed 1 files from checkpoints",
        "verified: 0 problems",
        ": retired",
    ):
        assert words in said, words
    numbers = [int(part.split(",")[0].split()[0]) for part in said.split(" event ")[1:]]
    assert numbers == list(range(1, max(numbers) + 1))  # each event once
    for name in ASKED:
        assert not [form for form in written(name) if form in said.encode()], name
    assert not [tag for tag in tags if tag in said]
    assert NOTE not in said and "raised of" not in said and "home" not in said and str(tmp_path) not in said
    assert "Traceback" not in said


def test_every_kind_of_event_has_words() -> None:
    from efface.store.applying import APPLY
    from efface.store.logs import _WORDS

    assert set(_WORDS) == set(APPLY)


def test_an_event_that_cannot_be_read_is_logged_by_its_kind(lines: io.StringIO) -> None:
    log_events(Path(".s\n.new"), [Event(7, "", "requested", {"number": 1}, ""), Event(8, "", "other", {}, "")])
    first, second = (line.partition(" (")[0] for line in lines.getvalue().splitlines())
    assert first == r"INFO efface.store store 's\n': event 7, requested: requested"
    assert second == r"INFO efface.store store 's\n': event 8, other: other"


def test_what_was_not_stored_is_not_logged(path: Path, lines: io.StringIO) -> None:
    context = context_of(Store(path))
    with pytest.raises(ValueError, match="broken"), context.writing() as transaction:
        transaction.append("cancelled", {"number": 2})
        raise ValueError("broken")
    assert "cancelled" not in lines.getvalue()


def test_a_wait_for_another_run_is_logged(path: Path, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.store.logs.LONG_S", 0.0)
    folder, held, free = Folder(path), threading.Event(), threading.Event()

    def hold() -> None:
        with folder.locked(0.0):
            held.set()
            free.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    threading.Timer(0.1, free.set).start()
    with folder.locked(10.0):
        thread.join()
    assert "s for another run" in lines.getvalue()


def test_nothing_is_shown_unless_it_is_asked_for(path: Path) -> None:
    code = """
import sys, logging
import efface
from efface.store import Store
logging.getLogger("efface.store").error("not shown")
Store(sys.argv[1]).cancel(2)
assert [type(h) for h in logging.getLogger("efface").handlers] == [logging.NullHandler]
assert not logging.getLogger().handlers
"""
    done = subprocess.run(
        [sys.executable, "-c", code, path], env=child_environment(), capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
