"""Fail points act for a test that arms one in its own process, and for nothing else."""

import os

import pytest

from efface.store import failpoints


def test_a_point_acts_once_at_the_time_asked_for() -> None:
    failpoints.arm("run.locked:full:2")
    failpoints.failpoint("run.began")
    failpoints.failpoint("run.locked")
    with pytest.raises(OSError, match="No space left"):
        failpoints.failpoint("run.locked")
    failpoints.failpoint("run.locked")
    failpoints.arm("run.locked:full")  # counts anew
    with pytest.raises(OSError, match="No space left"):
        failpoints.failpoint("run.locked")
    failpoints.disarm()
    failpoints.failpoint("run.locked")


def test_a_child_inherits_what_is_armed() -> None:
    failpoints.arm("run.locked:kill")
    child = os.fork()
    if child == 0:
        failpoints.failpoint("run.locked")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9


@pytest.mark.parametrize("wanted", ["run.lokced:kill", "run.locked:explode", "run.locked", ""])
def test_a_point_or_action_that_does_not_exist_cannot_be_armed(wanted: str) -> None:
    with pytest.raises(ValueError, match="there is no fail point"):
        failpoints.arm(wanted)
