"""What a store logs: each event once it is stored, waits, and removed files. No id, tag or note is in a line."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from efface.runtime.printing import how_many
from efface.store.entries import CONFIRMED, RESET, Event, Stage

logger = logging.getLogger("efface.store")
LONG_S = 0.5  # a wait that is worth a line


def log_events(folder: Path, events: Iterable[Event]) -> None:
    """Log events that were stored.

    Args:
        folder: the store's folder.
        events: the events, in order.
    """
    for event in events:
        ended = event.kind == "ended" and event.body.get("stage") in (Stage.REJECTED, Stage.FAILED)
        level = logging.WARNING if ended else logging.INFO
        if logger.isEnabledFor(level):
            logger.log(level, "%s: event %d, %s: %s", name_of(folder), event.seq, event.kind, _words(event))


def log(folder: Path, text: str, *values: object, level: int = logging.INFO) -> None:
    """Log a line about a store.

    Args:
        folder: the store's folder; its name stands in the line.
        text: the line in the style of logging, in fixed words.
        values: the values in it: numbers, or words of efface's own.
        level: its level.
    """
    logger.log(level, f"%s: {text}", name_of(folder), *values)


@contextmanager
def logged_wait(folder: Path, what: str) -> Iterator[None]:
    """Log how long the block took, if that was long; it waits for others and does nothing else.

    Args:
        folder: the store's folder.
        what: what it waits for.
    """
    began = time.monotonic()
    try:
        yield
    finally:
        waited = time.monotonic() - began
        if waited >= LONG_S:
            log(folder, "waited %.1f s for %s", waited, what)


def name_of(folder: Path) -> str:
    """The name of a store's folder as one word, also while the store is built in another."""
    name = folder.name
    if name.startswith(".") and name.endswith(".new"):
        name = name[1:-4]
    return f"store {name!a}"


def _words(event: Event) -> str:
    """An event in fixed words, with its numbers and counts alone."""
    say = _WORDS.get(event.kind)
    try:
        return event.kind if say is None else say(event.body)
    except (KeyError, TypeError, ValueError, AttributeError):  # of another version of efface
        return event.kind


def _version(body: dict[str, Any]) -> str:
    made = "" if body["run"] is None else f" by run {body['run']}"
    audit = "" if body["audit"] is None else f", {body['audit']['status']}"
    return f"version {body['number']} in service, {body['kind']}{made}{audit}; honours {_requests(body)} more"


def _requested(body: dict[str, Any]) -> str:
    due = "" if body["due"] is None else f", due {body['due']}"
    return f"request {body['number']} added with {_count(body['records'], 'record')}{due}"


def _began(body: dict[str, Any]) -> str:
    plan = body["plan"]
    how = "a retraining" if plan["retrain"] else f"method {plan['method']}"
    return f"run {body['number']} began from version {body['parent']} with {_requests(body)}: {how}"


def _requests(body: dict[str, Any]) -> str:
    return _count(len(body["requests"]), "request")


def _count(number: int, what: str) -> str:
    return how_many(number, what)


# the reasons of `ended` are fixed words too: the history keeps no text of a user's code
_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "created": lambda b: f"made for {_count(b['settings']['records'], 'training record')}",
    "version": _version,
    "fingerprinted": lambda _: "the records' content was noted anew",
    "requested": _requested,
    "amended": lambda b: f"request {b['number']} has another date or a further note",
    "cancelled": lambda b: f"request {b['number']} cancelled, and its ids deleted",
    "deferred": lambda b: f"{_requests(b)} have to wait",
    "covered": lambda b: f"request {b['number']} honoured by version {b['version']}: its records were forgotten before",
    "began": _began,
    "made": lambda b: f"run {b['number']} has made a model",
    "audited": lambda b: f"run {b['number']} was audited: {b['audit']['status']}",
    "ended": lambda b: f"run {b['number']} ended without a version, {b['stage']}: {b['why']}",
    "cleared": lambda _: "deleted ids no longer stand in the write-ahead log",
    "removed": lambda b: f"the weights of {_count(len(b['versions']), 'superseded version')} are to be removed",
    "rolled_back": lambda b: f"version {b['version']} is in service again",
    "retiring": lambda _: "retirement began",
    "retired": lambda _: "retired",
    CONFIRMED: lambda _: "the clock was confirmed",
    RESET: lambda b: f"the clock was reset: the times since event {b['since']} were wrong",
    "restored": lambda b: f"restored from a backup that ended with event {b['event']}",
}
