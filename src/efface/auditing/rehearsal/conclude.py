"""The verdict on a request that is too small to speak for itself, from its own tests and from a rehearsal."""

from collections.abc import Iterator
from dataclasses import replace

from efface.auditing.rehearsal.findings import Rehearsal
from efface.auditing.rehearsal.size import NO_TRACE
from efface.auditing.verdict import Forgotten, Status, Verdict


def conclude(direct: Verdict, found: Rehearsal, forgotten: Forgotten) -> Verdict:
    """Decide from a rehearsal where the requested records themselves leave it undecided.

    What shows on the deployed model comes first; then whether the rehearsal speaks for that model at all; then what it
    says of the process.

    Args:
        direct: The verdict from the requested records alone, which is undecided.
        found: The rehearsal.
        forgotten: How many records were requested.
    """
    if seen := list(_standing_out(found, forgotten)):
        what = forgotten.be("one", "records")
        return replace(
            direct,
            status=Status.NOT_VERIFIED,
            reasons=tuple(seen),
            sentence=f"The {forgotten} {forgotten.be('stands', 'stand')} out as {what} that the model still knows.",
        )
    them, too_few = forgotten.be("it", "them"), _too_few(forgotten)
    if doubts := list(_doubts(found, forgotten)):
        sentence = f"The {too_few}, and the rehearsal does not speak for {them}."
        return replace(direct, reasons=(*doubts, *direct.reasons), sentence=sentence)
    process = found.process
    if process.status is Status.NOT_VERIFIED:
        return replace(
            direct,
            status=Status.NOT_VERIFIED,
            reasons=tuple(f"rehearsed records: {r}" for r in process.reasons),
            sentence=(
                f"The process that erased the {forgotten} left traces of {found.records} other records of their kind."
            ),
        )
    if process.status is Status.VERIFIED:
        return _by_rehearsal(direct, found, forgotten)
    if found.no_trace:
        return _no_trace(direct, found, forgotten)
    return replace(
        direct,
        reasons=(*(f"rehearsed records: {r}" for r in process.reasons), *direct.reasons),
        sentence=(
            f"The {too_few}, and {found.records} rehearsed records of their kind could neither confirm that the "
            "process forgets nor show that it does not."
        ),
    )


def _too_few(forgotten: Forgotten) -> str:
    return f"{forgotten} {forgotten.be()} too few to show anything"


def _by_rehearsal(direct: Verdict, found: Rehearsal, forgotten: Forgotten) -> Verdict:
    """The process is verified on rehearsed records, and no requested one stands out."""
    them, their = forgotten.be("it", "them"), forgotten.be("its", "their")
    if len(found.standings) > 1:
        stand = f"{forgotten.be('record stands', 'records stand')} out neither there nor in the deployed model"
    else:  # of groups of several records
        stand = f"{forgotten.be('record does', 'records do')} not stand out there"
    return replace(
        direct,
        status=Status.VERIFIED_BY_REHEARSAL,
        reasons=(*(f"rehearsed records: {r}" for r in found.process.reasons), *_not_standing_out(found, forgotten)),
        sentence=(
            f"The {_too_few(forgotten)} alone. The same process, run {found.runs} times more on {them} and, batch by "
            f"batch, on {found.records} other training records of {their} kind, left models that could not be "
            f"distinguished from ones that never saw those; and the requested {stand}."
        ),
    )


def _no_trace(direct: Verdict, found: Rehearsal, forgotten: Forgotten) -> Verdict:
    """The original shows nothing of such records either."""
    return replace(
        direct,
        status=Status.NO_TRACE_FOUND,
        reasons=(
            f"on {found.records} training records of the same kind, every attack on the original lies within "
            f"±{NO_TRACE:g} of AUC of a model that never saw them, and so it does after unlearning",
            *_not_standing_out(found, forgotten),
        ),
        sentence=(
            "There was nothing to see: even before unlearning, no attack made here distinguished training records of "
            f"this kind from never-seen ones. That is no evidence that the {forgotten} "
            f"{forgotten.be('was', 'were')} erased, only that none was traceable."
        ),
    )


def _standing_out(found: Rehearsal, forgotten: Forgotten) -> Iterator[str]:
    stand = forgotten.be("record stands", "records stand")
    for s in found.standings:
        if s.stands_out:
            yield f"the requested {stand} out {s.title}: p = {s.p:.2g} among {s.others} others"


def _not_standing_out(found: Rehearsal, forgotten: Forgotten) -> Iterator[str]:
    do = forgotten.be("record does", "records do")
    for s in found.standings:
        every = "" if forgotten.records == 1 else f", all of them with {s.seen_all:.0%}"
        yield (
            f"the requested {do} not stand out {s.title}: p = {s.p:.2g}; left as it was, "
            f"{forgotten.be('it', 'one')} would have stood out with a chance of {s.seen_one:.0%}{every}"
        )


def _doubts(found: Rehearsal, forgotten: Forgotten) -> Iterator[str]:
    """Why the rehearsal does not speak for the requested records."""
    if found.alone and forgotten.records == 1:
        yield "the requested record has no like: no other training record is nearly as hard, or as easy, as it is"
    elif found.alone:
        yield (
            f"{found.alone} of the requested records (or groups) have no like: no other training record is nearly as "
            "hard, or as easy, as they are"
        )
    if not found.agreement.holds:
        a, own = found.agreement, forgotten.be("record", "records")
        margins = forgotten.be("its margin is", "their margins are")
        yield (
            f"the deployed model does not have the requested {own} where the rehearsal has the rehearsed ones (p = "
            f"{a.p:.2g}): {margins} {a.shift:+.2f} from those in its runs, whose standard deviation is {a.spread:.2f}"
        )
