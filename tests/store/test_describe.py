"""What `request show` says of a request, whatever else happened in its store."""

import io
from dataclasses import replace

import pytest
from torch.utils.data import TensorDataset

from efface import RequestError
from efface.cli.request_display import show_request, show_requests
from efface.store import Store
from helpers.store_cases import QUICK, people, subset, task_of
from helpers.tiny import Tiny


def events_of(store: Store, number: int) -> list[str]:
    return [event["kind"] for event in store.request(number)["history"]]


def test_a_request_is_shown_after_contents_were_taken_as_they_are_now(store: Store, tiny: Tiny) -> None:
    store.add(people([5]))
    store.run(QUICK)
    Store(store.path, replace(task_of(tiny), train=TensorDataset(tiny.x + 1, tiny.y))).refingerprint()
    assert events_of(store, 1) == ["requested", "began", "made", "version"]


def test_a_request_that_waits_says_why(store: Store, tiny: Tiny) -> None:
    kept = [at for at in range(300) if at != 7]
    store.add(people([5]))
    store.add(people([7]))
    fewer = Store(store.path, replace(task_of(tiny), train=subset(tiny, kept), ids=people(kept)))
    fewer.run(QUICK)
    with pytest.raises(RequestError):
        fewer.run(QUICK)
    assert store.request(1)["waits"] is None
    assert store.request(2)["waits"].startswith("1 of its records is no longer in the training set")
    assert events_of(store, 1) == ["requested", "began", "made", "version"]
    assert events_of(store, 2) == ["requested", "deferred"]
    shown = io.StringIO()
    show_request(store.request(2), shown)
    assert "waits     1 of its records is no longer in the training set" in shown.getvalue()
    show_requests([(r, None) for r in store.requests()], shown)
    assert "pending, waits" in shown.getvalue()
    assert store.run(QUICK).requests == (2,)
    assert store.request(2)["waits"] is None
