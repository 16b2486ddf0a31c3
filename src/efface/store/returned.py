"""Records that were forgotten and are in the training set again: by their content, or by the group they belong to."""

from collections.abc import Collection

from efface.errors import RequestError, shorten
from efface.runtime.printing import by_number, how_many
from efface.store.batch import DeletionBatch
from efface.store.context import StoreContext
from efface.store.fingerprint_rows import known_halves, requests_with_content
from efface.store.fingerprints import forgotten_macs
from efface.store.group_rows import returned_by_group
from efface.store.intake import TrainingRecords
from efface.store.keys import MAC_BYTES
from efface.store.wording import numbered

NO_GROUPS_NOW = (
    "requests by group were honoured, and the task has no groups now, so nobody can tell whether records of those "
    "groups joined since: set Task.groups, a key a record"
)


def check_returned(context: StoreContext, records: TrainingRecords, asked: Collection[int], retrain: bool) -> list[str]:
    """Check that nothing that was forgotten is in the training set again: no content, and no record of a group.

    Without `retrain` only records without a fingerprint are read, since all others were there before. Their contents
    may have changed since; a retraining reads them all.

    Args:
        context: the open store.
        records: the training records.
        asked: positions of the records that are to be forgotten, now or later.
        retrain: whether the model is trained anew.

    Returns:
        Warnings, one line each.

    Raises:
        RequestError: there are such records; the message names them.
    """
    problems = []
    names = records.index.names
    if returned := returned_records(context, records, asked, retrain):
        by = numbered("request", {number for those in returned.values() for number in those})
        problems.append(
            f"{len(returned)} training record{'s have' if len(returned) > 1 else ' has'} the content of a forgotten "
            f"one under another id: {shorten([names[at] for at in returned])} (forgotten by {by}): "
            "delete the rows, or ask for them to be forgotten too (Store.add, or efface request add)"
        )
    with context.reading() as snapshot:
        of_groups = returned_by_group(snapshot, records.task, context.key)
    joined = sorted({at for those in (of_groups or {}).values() for at in those if at not in asked})
    if of_groups and joined:
        problems.append(
            f"{len(joined)} training record{'s are' if len(joined) > 1 else ' is'} of groups that were forgotten by "
            f"{numbered('request', of_groups)}, and joined since: {shorten([names[at] for at in joined])}: "
            "delete the rows, or ask for the groups again (Store.add, or efface request add --groups)"
        )
    if problems:
        stay = "if they may stay, say so: RunPlan(allow_returned=True) (--allow-returned)"
        raise RequestError([f"{problem}; {stay}" for problem in problems])
    return [NO_GROUPS_NOW] if of_groups is None else []


def check_joined(context: StoreContext, records: TrainingRecords, batch: DeletionBatch) -> None:
    """Check that no record that an unlearning leaves out, since it joined later, has the content of one to forget.

    Args:
        context: the open store.
        records: the training records.
        batch: the records of the run.

    Raises:
        RequestError: there are such records; the message names them.
    """
    if not batch.joined or not batch.leaving:
        return
    wanted = set(forgotten_macs(records.task, context.key, sorted(batch.leaving)))
    macs = forgotten_macs(records.task, context.key, batch.joined)
    names = records.index.names
    if twins := [names[at] for at, mac in zip(batch.joined, macs, strict=True) if mac in wanted]:
        raise RequestError(
            f"{how_many(len(twins), 'training record')} that joined later "
            f"{by_number(len(twins), 'has', 'have')} the content of one to forget under another id: {shorten(twins)}: "
            "delete the rows, or ask for them to be forgotten too (Store.add, or efface request add); if they may "
            "stay, say so: RunPlan(allow_returned=True) (--allow-returned)"
        )


def returned_records(
    context: StoreContext, records: TrainingRecords, asked: Collection[int], everywhere: bool
) -> dict[int, list[int]]:
    """The training records that have the content of a forgotten one, by position, with the numbers of its requests.

    Args:
        context: the open store.
        records: the training records.
        asked: positions of records that are left out.
        everywhere: whether to read all records, not only those without a fingerprint.
    """
    if not context.history().fingerprints.forgotten:
        return {}
    staying = [at for at in records.view.positions if at not in asked]
    if not everywhere:
        with context.reading() as snapshot:
            known = known_halves(snapshot)
        names = records.index.names
        staying = [at for at in staying if context.key.tag(names[at])[:MAC_BYTES] not in known]
    macs = forgotten_macs(records.task, context.key, staying)
    with context.reading() as snapshot:
        found = requests_with_content(snapshot, macs)
    return {at: found[mac] for at, mac in zip(staying, macs, strict=True) if mac in found}
