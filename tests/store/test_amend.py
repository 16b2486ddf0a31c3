"""The same records again: the date never becomes later, and every note stays."""

from datetime import timedelta

import pytest

from efface.store import Answer, Stage, Store
from helpers.command_line import run as command
from helpers.store_cases import QUICK, kinds, people
from helpers.store_verbs import DAY, at, everything, refused

RECORDS = people([5, 7, 9])


@pytest.mark.parametrize(
    ("first", "second", "kept", "said"),
    [
        (
            "2031-01-31",
            "2040-01-01",
            "2031-01-31",
            "It stays due 2031-01-31: a later date changes nothing. To",
        ),
        ("2031-01-31", "2031-02-01", "2031-01-31", "It stays due 2031-01-31"),
        ("2031-01-31", "2030-12-31", "2030-12-31", "It is due 2030-12-31 now, earlier than 2031-01-31 before."),
        ("2031-01-31", "2031-01-31", "2031-01-31", None),
        ("2031-01-31", None, "2031-01-31", None),
        (None, "2031-01-31", "2031-01-31", "It is due 2031-01-31 now; it had no date before."),
        (None, None, None, None),
    ],
)
def test_the_earlier_date_counts(
    store: Store, first: str | None, second: str | None, kept: str | None, said: str | None
) -> None:
    store.add(RECORDS, due=first)
    before = everything(store.path)
    again = store.add(RECORDS[::-1], due=second)
    assert (again.made, again.request.due, store.requests()[0].due) == (False, kept, kept)
    assert again.amended == (kept != first)
    assert [line[: len(said or "")] for line in again.remarks] == [said] * (said is not None)
    if not again.amended:
        assert everything(store.path) == before
    assert kinds(store).count("amended") == again.amended
    assert store.verify(level=None).problems == ()


def test_all_notes_are_kept_shown_and_checked(store: Store) -> None:
    for note in (None, "ticket 1", "ticket 2", "ticket 1", "", "ticket 3"):
        store.add(RECORDS, note=note)
    assert store.note(1) == "ticket 1\nticket 2\n\nticket 3"
    assert store.request(1)["note"] == store.note(1)
    assert store.verify(level=None).problems == ()
    shown = command("request", "show", "1", "--store", str(store.path)).output.splitlines()
    lines = [line.split() for line in shown]
    assert ["note", "ticket", "1"] in lines and ["ticket", "2"] in lines and ["ticket", "3"] in lines
    listed = command("request", "list", "--store", str(store.path)).output
    assert all(f"ticket {number}" in listed for number in (1, 2, 3))
    store.run(QUICK)
    assert store.note(1) == "ticket 1\nticket 2\n\nticket 3"


def test_notes_that_are_too_long_together_change_nothing(store: Store) -> None:
    for number in range(9):
        store.add(RECORDS, note=f"{number}" * 500, due="2031-01-31")
    before = everything(store.path)
    (problem,) = refused(store.add, RECORDS, note="x" * 500, due="2030-01-01")
    assert problem == (
        "note: request 1 has notes of 4,508 characters already, and all its notes together may have 5,000"
    )
    assert everything(store.path) == before
    assert store.add(RECORDS, note="x" * 491).amended


def test_what_is_given_for_an_honoured_request_is_said_to_be_ignored(store: Store) -> None:
    store.add(RECORDS, note="ticket 1", due="2031-01-31")
    store.run(QUICK)
    before = everything(store.path)
    again = store.add(RECORDS, note="ticket 2", due="2030-01-01")
    assert (again.amended, again.request.stage) == (False, Stage.HONOURED)
    assert again.remarks == ("It is honoured already: what was given now, the date and the note, changes nothing.",)
    assert store.add(RECORDS, note="ticket 1").remarks == ()
    assert everything(store.path) == before


def test_a_request_is_postponed_by_cancelling_it(store: Store) -> None:
    store.add(RECORDS, due="2031-01-31")
    store.cancel(1)
    again = store.add(RECORDS, due="2040-01-01")
    assert (again.made, again.request.number, again.request.due, again.remarks) == (True, 2, "2040-01-01", ())


def test_a_date_that_is_over_makes_the_request_late(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, DAY)

    def repeated(days: int) -> Answer:
        return store.add(RECORDS, due=(DAY + timedelta(days=days)).date())

    assert not repeated(2).late
    assert repeated(-1).late
    assert repeated(3).late
