"""Requests whose records others had forgotten are honoured without a run."""

from efface.store import Stage, Store
from helpers.store_cases import IDS, QUICK, people


def test_records_forgotten_before_are_answered_at_once(store: Store) -> None:
    store.add(people([5, 7, 9]))
    store.run(QUICK)
    part = store.add(people([7, 5]))
    assert (part.made, part.forgotten, part.waiting) == (True, 2, 0)
    assert (part.request.stage, part.request.version, part.request.through) == (Stage.HONOURED, 2, (1,))
    mixed = store.add(people([9, 20]))
    assert (mixed.forgotten, mixed.request.stage) == (1, Stage.PENDING)
    assert store.ids(3) == [IDS[20]]  # the id of the other one is never kept again
    assert store.run(QUICK).requests == (3,)


def test_requests_that_a_run_makes_superfluous_end_with_it(store: Store) -> None:
    """Also through several others, of which some ended that way themselves."""
    for wanted in ([5], [7]):
        store.add(people(wanted))
    store.run(QUICK)
    third = store.add(people([5, 7])).request
    store.add(people([9]))
    store.run(QUICK)
    last = store.add(people([5, 7, 9])).request
    assert (third.version, third.through) == (2, (1, 2))
    assert (last.version, last.through) == (3, (1, 2, 4))
    assert store.status().honours == {1: (), 2: (1, 2, 3), 3: (1, 2, 3, 4, 5)}
    assert store.history().known_to(3) == set()
