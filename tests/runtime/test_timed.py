"""Log lines of work that takes long say how it ended, and never what an error said."""

import logging

import pytest

from efface.runtime.timed import timed


def test_work_is_logged_with_its_result_or_the_type_of_its_error(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("efface.test")
    caplog.set_level(logging.DEBUG, "efface")
    with timed(logger, "work") as work:
        work.result = "verified"
    with pytest.raises(ValueError, match="anna"), timed(logger, "work"):
        raise ValueError("anna is at fault")
    lines = [(r.levelname, r.getMessage().split(" after")[0], r.getMessage().split(": ")[-1]) for r in caplog.records]
    began = ("INFO", "work began", "work began")
    ended = [("INFO", "work ended", "verified"), ("WARNING", "work ended", "ValueError")]
    assert lines == [began, ended[0], began, ended[1]]
