"""Which pending requests a run can honour: those whose records are there, as the model was trained on them.

The others wait, and the history notes why; the requests beside them need not wait for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from efface.data.index import RecordIndex
from efface.errors import RequestError
from efface.runtime.printing import Brief
from efface.runtime.seeds import derive_seed
from efface.store.context import StoreContext
from efface.store.entries import Deferral
from efface.store.fingerprint_rows import check_counts, fingerprints_of
from efface.store.fingerprints import fingerprints_at
from efface.store.group_rows import grown_groups
from efface.store.pending import read_pending
from efface.store.tag_rows import pending_tags_of
from efface.store.task_view import TaskView
from efface.task import Task
from efface.types import Indices

SAMPLE = 200  # records beside the batch whose content is compared; if 1.5 % of all changed, it misses them 1 time in 20
MOST = 0.5  # share of changed contents above which the data are taken to be read in another way


@dataclass(frozen=True, repr=False)
class TrainingRecords(Brief):
    """The training records as a run finds them.

    Args:
        task: the task as the user gave it.
        index: the positions of all training records, by their ids.
        view: the task without the records that were forgotten before.
    """

    task: Task
    index: RecordIndex
    view: TaskView


@dataclass(frozen=True, repr=False)
class Intake(Brief):
    """Which of some pending requests a run can honour.

    Args:
        taken: their numbers.
        deferred: why each of the others has to wait, by its number.
        warnings: what else changed in the training records, one line each.
        asked: positions of the records that any pending request names.
    """

    taken: tuple[int, ...]
    deferred: Mapping[int, Deferral]
    warnings: tuple[str, ...]
    asked: frozenset[int]

    @property
    def lines(self) -> tuple[str, ...]:
        """Why requests have to wait, one line each."""
        return tuple(found.line(number) for number, found in self.deferred.items())


@dataclass(frozen=True)
class Comparison:
    """How the contents of some records compare with their fingerprints.

    Args:
        changed: positions of the records whose content is another one.
        unknown: positions of the records without a fingerprint.
    """

    changed: frozenset[int]
    unknown: frozenset[int]


def take_in(context: StoreContext, records: TrainingRecords, requests: Sequence[int], retrain: bool) -> Intake:
    """Find out which pending requests a run can honour, before anything is erased.

    Args:
        context: the open store.
        records: the training records.
        requests: numbers of pending requests.
        retrain: whether the model is trained anew, for which rows may be missing.

    Raises:
        RequestError: most of the training records have another content than the model was trained on, or the model in
            service was trained on others than the fingerprints are of.
        DamagedError: rows of fingerprints or of requests were changed, removed or put in.
    """
    if not retrain and (problem := context.history().foreign_contents):
        raise RequestError(problem)
    with context.reading() as snapshot:
        check_counts(snapshot)
        tags = pending_tags_of(snapshot, requests)
        seq, by_position = snapshot.history.seq, snapshot.history.settings["by_position"]
        grown = grown_groups(snapshot, records.task, context.key)
        by_group = {number: len(snapshot.history.requests[number].groups) for number in requests}
        pending = [r.number for r in snapshot.history.pending]
    found = {tag: records.index.position(name) for tag, name in read_pending(context, pending).names.items()}
    there = sorted({at for some in tags.values() for tag in some if (at := found.get(tag)) is not None})
    asked = compare(context, records.task, np.array(there, dtype=np.int64))
    others = np.setdiff1d(np.asarray(records.view.positions, dtype=np.int64), there)
    chosen = np.random.default_rng(derive_seed(seq, "content")).permutation(len(others))[:SAMPLE]
    sample = np.sort(others[chosen])
    around = compare(context, records.task, sample)
    looked_at = len(sample) - len(around.unknown)
    if len(around.changed) > MOST * looked_at and not (retrain and not by_position):
        raise RequestError(_most_changed(len(around.changed), looked_at, by_position))
    deferred = {}
    for number in requests:
        places = [found[tag] for tag in tags[number] if tag in found]
        if grown is None and by_group[number]:
            deferred[number] = Deferral("ungrouped", by_group[number])
        elif grown and number in grown:
            deferred[number] = Deferral("grown", grown[number])
        elif (why := _deferral(places, asked, by_position)) and (not retrain or why.why == "moved"):
            # a retraining leaves records out by their ids, whatever their content; a position is no such id
            deferred[number] = why
    warnings = []
    if around.changed and not retrain:
        warnings.append(
            f"{len(around.changed)} of {looked_at} training records that were looked at have another content than the "
            "model was trained on: what stays is taken as it is now"
        )
    if retrain and asked.changed:
        warnings.append(
            f"{len(asked.changed)} of the records to forget have another content than the model was trained on: they "
            "are left out by their ids. If ids were given to other records meanwhile, the earlier contents are "
            "trained on under other ids"
        )
    if retrain and len(around.changed) > MOST * looked_at:
        warnings.append(
            f"most training records have another content than the model in service was trained on "
            f"({len(around.changed)} of {looked_at} that were looked at): the new model is trained on what they hold "
            "now"
        )
    return Intake(
        taken=tuple(n for n in requests if n not in deferred),
        deferred=deferred,
        warnings=tuple(warnings),
        asked=frozenset(at for at in found.values() if at is not None),
    )


def compare(context: StoreContext, task: Task, positions: Indices) -> Comparison:
    """Compare the contents of some training records with their fingerprints.

    Args:
        context: the open store.
        task: the task, whose ids `named_task` has read.
        positions: positions of the records in the whole training set.
    """
    now = list(fingerprints_at(task, context.key, positions))
    with context.reading() as snapshot:
        noted = fingerprints_of(snapshot, [one.tag for one in now])
    pairs = list(zip(positions.tolist(), now, strict=True))
    return Comparison(
        changed=frozenset(at for at, one in pairs if one.tag in noted and noted[one.tag].content != one.content),
        unknown=frozenset(at for at, one in pairs if one.tag not in noted),
    )


def _deferral(places: Sequence[int | None], asked: Comparison, by_position: bool) -> Deferral | None:
    """Why records at some positions cannot be unlearned; None stands for a record that is not there."""
    if missing := places.count(None):
        return Deferral("missing", missing)
    for why, those in (("moved" if by_position else "changed", asked.changed), ("joined", asked.unknown)):
        if count := sum(at in those for at in places):
            return Deferral(why, count)
    return None


def _most_changed(changed: int, looked_at: int, by_position: bool) -> str:
    order = "the records, which are named by position, stand in another order; or " * by_position
    return (
        f"most training records have another content than the model was trained on ({changed} of {looked_at} that were "
        f"looked at): {order}they are read in another way than then, such as by another version of a decoder, a "
        "tokenizer or a transform. Read them as then; where the change is meant, cancel what is pending, take the "
        "contents as they are now (Store.refingerprint(), or efface refingerprint), and ask again"
    )
