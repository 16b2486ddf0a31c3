"""Checks of one data set against others: records that are in two of them, eval_records in another order than train."""

from collections.abc import Mapping

import numpy as np

from efface.data.checks import Findings
from efface.data.contents import HASH, Contents, Marks, among, check_batch, marked
from efface.data.hashing import checksums
from efface.data.records import Records
from efface.data.splits import MIN_HOLDOUT, spread
from efface.runtime.printing import by_number, how_many_do
from efface.types import Indices

COMPARED = 256  # records of train whose inputs are looked for among eval_records
MIN_TEST = 30  # test records that must remain where some are left out


def check_shared(shared: Indices, records: int, found: Findings) -> None:
    """Check that enough holdout records remain where some are also training records and are left out.

    Args:
        shared: Positions of the holdout records whose inputs are those of a training record.
        records: The number of holdout records.
        found: A problem or a warning is added to this.
    """
    if not len(shared):
        return
    known = by_number(len(shared), "a training record", "training records")
    line = (
        f"{how_many_do(len(shared), 'holdout record')} also {known} (equal inputs), the first at holdout position "
        f"{shared[0]}"
    )
    left = records - len(shared)
    if left >= MIN_HOLDOUT:
        found.warnings.append(f"{line}: they were left out, and {left} remain")
    else:
        found.problems.append(
            f"{line}: without them {left} remain, and at least {MIN_HOLDOUT} that the model never saw are needed"
        )


def check_order(given: Records, read: Records, contents: Contents, found: Findings) -> None:
    """Check by content that eval_records are in the order of train, where train does not augment.

    Equal labels do not show it within a class. The inputs of some records are compared: where those of train are found
    in eval_records at another place, and not at their own, the order differs.

    Args:
        given: The training records as they were given.
        read: The eval_records.
        contents: What the pass over all eval_records found.
        found: A problem is added to this.
    """
    some = spread(len(given), COMPARED)
    # read once, since a record that augments differs the next time, and alone, since its length may differ too
    batches = [*given.hashed(some, size=1024 if given.is_made_of_tensors else 1, with_targets=False)]
    hashes = np.frombuffer(b"".join(h for _, each in batches for h in each), HASH)
    differ = hashes != np.frombuffer(b"".join(read.hashes(some, with_targets=False)), HASH)
    marks = hashes if contents.hashed else np.concatenate([checksums(batch) for batch, _ in batches])
    known = contents.marks["training"]
    suspect = differ & among(marks, known)
    if suspect.any() and not contents.hashed:  # equal checksums are seldom of equal inputs
        near = read.hashes(np.flatnonzero(among(known, marks[suspect])), with_targets=False)
        suspect &= among(hashes, np.frombuffer(b"".join(near), HASH))
    moved = some[suspect]
    if len(moved):
        found.problems.append(
            f"eval_records hold the inputs of train at other places ({len(moved)} of {len(some)} compared, the first "
            f"at {moved[0]}): eval_records must hold the records of train in the same order"
        )


def check_test(test: Records, others: Mapping[str, Marks], width: int | None, found: Findings) -> Indices:
    """Check that there are test records, that their values are valid, and that no other set holds them.

    Args:
        test: The test records.
        others: Content hashes of the other sets, by name of the set; if empty, records are not compared.
        width: The width of the model's outputs; None if it is not known.
        found: Problems and warnings are added to this.

    Returns:
        Positions of the test records that are to be left out, since another set holds their inputs.
    """
    if not len(test):
        found.problems.append(
            "the test set is empty: leave it out, or give records that are in neither train nor holdout"
        )
    hashes: list[Marks] = [np.empty(0, HASH)]
    if others:
        for batch, marks in marked(test, hash_all=True):
            check_batch(batch, test.rules, width, "test", found)
            hashes.append(marks)
    else:
        for batch in test.stream(np.arange(len(test))):
            check_batch(batch, test.rules, width, "test", found)
    of_test = np.concatenate(hashes)
    everywhere = np.zeros(len(of_test), dtype=bool)
    lines = []
    for name, marks in others.items():
        shared = among(of_test, marks)
        everywhere |= shared
        if shared.any():
            lines.append(
                f"{int(shared.sum())} test records are also {name} records (equal inputs), the first at position "
                f"{int(shared.argmax())}"
            )
    left = len(test) - int(everywhere.sum())
    if lines and left < MIN_TEST:
        found.problems += [
            f"{line}: without them {left} remain, and {MIN_TEST} that the model never saw are needed" for line in lines
        ]
    else:
        found.warnings += [f"{line}: they were left out, and {left} remain" for line in lines]
    return np.flatnonzero(everywhere)
