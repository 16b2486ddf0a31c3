"""Which conclusions let a model into service, by the weakest one that is accepted."""

import pytest

from efface.store.assessment import Assessment, take_it
from efface.store.plan import ACCEPT, NOT_AUDITED, RETRAINED

CONCLUSIONS = ("verified", "verified_by_rehearsal", "no_trace_found", "undecided", "not_verified")


@pytest.mark.parametrize("accept", ACCEPT)
def test_what_stands_above_the_accepted_conclusion_passes_and_nothing_below(accept: str) -> None:
    passed = [status for status in CONCLUSIONS if Assessment(status, [], {}).passes(accept)]
    assert passed == list(CONCLUSIONS[: ACCEPT.index(accept) + 1])
    for status in (NOT_AUDITED, RETRAINED):
        assert Assessment(status, [], {}).passes(accept)
        assert Assessment(status, [], {}, within_limits=False).passes(accept) == (accept == "any")


def test_a_rejected_model_can_be_taken_by_its_own_conclusion() -> None:
    assert "--accept no_trace_found" in take_it(Assessment("no_trace_found", [], {}))
    assert "--accept any" in take_it(Assessment("not_verified", [], {}))
    assert "--accept any" in take_it(Assessment("undecided", [], {}, within_limits=False))
