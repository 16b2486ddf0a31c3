"""Any number of requests: no statement holds a value for each, and lists ask as often for many as for few."""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from efface import Task
from efface.store import Store
from helpers.command_line import run
from helpers.store_cases import QUICK, people
from helpers.store_verbs import shift

VARIABLES = 60  # of one statement; SQLite's own limit is 999 or 32,766, depending on its version
MANY = 70


@pytest.fixture
def few_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite takes few values in one statement, and the store gives it fewer."""
    monkeypatch.setattr("efface.store.database.AT_ONCE", VARIABLES // 2)
    connect = sqlite3.connect

    def limited(*given: Any, **options: Any) -> sqlite3.Connection:
        made = connect(*given, **options)
        made.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, VARIABLES)
        return made

    monkeypatch.setattr(sqlite3, "connect", limited)


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every statement that is sent to a database."""
    seen: list[str] = []

    def note(connection: Connection, cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


def ask(store: Store, many: Iterable[tuple[int, ...]]) -> None:
    """Add a request for each set of records."""
    for positions in many:
        store.add(people(positions))


def test_more_requests_than_a_statement_has_values(
    store: Store, task: Task, few_variables: None, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("efface.store.build.unlearn", shift)
    asked = list(islice(combinations(range(30), 2), MANY))
    ask(store, asked)
    statements.clear()
    assert Store(store.path).verify(level=None).problems == ()
    assert len(statements) < MANY
    outcome = store.run(QUICK)
    assert len(outcome.requests) == MANY and outcome.version is not None
    assert [store.ids(number) for number in (1, MANY)] == [[], []]
    opened = Store(store.path, task)
    assert opened.status().honours[2] == tuple(range(1, MANY + 1))
    assert opened.verify(level=None).problems == ()
    assert opened.add(people(range(30))).forgotten == len({at for pair in asked for at in pair})


def test_lists_ask_as_often_for_many_requests_as_for_few(store: Store, statements: list[str]) -> None:
    counts = []
    for many in (combinations(range(8), 1), combinations(range(8), 2)):
        ask(store, many)
        for words in (("request", "list"), ("request", "list", "--json"), ("status",)):
            statements.clear()
            assert run(*words, "--store", str(store.path)).exit_code == 0
            counts.append(len(statements))
    assert counts[:3] == counts[3:]


def test_a_list_shows_each_note_with_its_request(store: Store) -> None:
    store.add(people([1]), note="first")
    store.add(people([2]))
    store.add(people([3]), note="漢 third")
    assert store.notes() == {1: "first", 3: "漢 third"}
    shown = run("request", "list", "--store", str(store.path)).stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    assert [(row[0], row[-1]) for row in rows] == [("1", "first"), ("2", ""), ("3", "漢 third")]


def test_deep_json_in_a_file_is_damage(path: Path) -> None:
    (path / "head").write_text("[" * 200_000)
    result = run("status", "--store", str(path))
    assert (result.exit_code, "head: cannot be read" in result.output) == (4, True)
