"""Records that were forgotten and are in the training set again: by their content, or by the group they belong to."""

from collections.abc import Mapping

from efface.errors import RequestError, shorten
from efface.store.context import StoreContext
from efface.store.fingerprint_rows import known_halves, requests_with_content
from efface.store.fingerprints import forgotten_macs
from efface.store.group_rows import returned_by_group
from efface.store.intake import TrainingRecords
from efface.store.keys import MAC_BYTES
from efface.store.wording import numbered


def check_returned(context: StoreContext, records: TrainingRecords, leaving: Mapping[int, str], retrain: bool) -> None:
    """Check that nothing that was forgotten is in the training set again: no content, and no record of a group.

    Without `retrain` only records without a fingerprint are read, since all others were there before. Their contents
    may have changed since; a retraining reads them all.

    Args:
        context: the open store.
        records: the training records.
        leaving: the records that are forgotten now, by position.
        retrain: whether the model is trained anew.

    Raises:
        RequestError: there are such records; the message names them.
    """
    problems = []
    names = records.index.names
    if returned := returned_records(context, records, leaving, retrain):
        by = numbered("request", {number for those in returned.values() for number in those})
        problems.append(
            f"{len(returned)} training record{'s have' if len(returned) > 1 else ' has'} the content of a forgotten "
            f"one under another id: {shorten([names[at] for at in returned])} (forgotten by {by}): "
            "delete the rows, or ask for them to be forgotten too (Store.add, or efface request add)"
        )
    with context.reading() as snapshot:
        of_groups = returned_by_group(snapshot, records.task, context.key) or {}
    joined = {at for those in of_groups.values() for at in those if at not in leaving}
    if joined:
        problems.append(
            f"{len(joined)} training record{'s are' if len(joined) > 1 else ' is'} of groups that were forgotten by "
            f"{numbered('request', of_groups)}, and joined since: {shorten([names[at] for at in sorted(joined)])}: "
            "delete the rows, or ask for the groups again (Store.add, or efface request add --groups)"
        )
    if problems:
        stay = "if they may stay, say so: RunPlan(allow_returned=True) (--allow-returned)"
        raise RequestError([f"{problem}; {stay}" for problem in problems])


def returned_records(
    context: StoreContext, records: TrainingRecords, leaving: Mapping[int, str], everywhere: bool
) -> dict[int, list[int]]:
    """The training records that have the content of a forgotten one, by position, with the numbers of its requests.

    Args:
        context: the open store.
        records: the training records.
        leaving: records that are left out, by position.
        everywhere: whether to read all records, not only those without a fingerprint.
    """
    if not context.history().fingerprints.forgotten:
        return {}
    staying = [at for at in records.view.positions if at not in leaving]
    if not everywhere:
        with context.reading() as snapshot:
            known = known_halves(snapshot)
        names = records.index.names
        staying = [at for at in staying if context.key.tag(names[at])[:MAC_BYTES] not in known]
    macs = forgotten_macs(records.task, context.key, staying)
    with context.reading() as snapshot:
        found = requests_with_content(snapshot, macs)
    return {at: found[mac] for at, mac in zip(staying, macs, strict=True) if mac in found}
