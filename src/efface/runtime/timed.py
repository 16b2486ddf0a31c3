"""Log lines of work that takes long: when it began, and when and how it ended."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Work:
    """Work that is logged; `result` says in a word or two how it ended, in fixed words.

    Args:
        result: how it ended, if it raises no error.
    """

    def __init__(self, result: str = "done") -> None:
        self.result = result


@contextmanager
def timed(logger: logging.Logger, what: str) -> Iterator[Work]:
    """Log the beginning of the block, and its end with its seconds; of an error only its type.

    Args:
        logger: the logger.
        what: the work, without ids or anything else of the user's.
    """
    logger.info("%s began", what)
    began, work = time.monotonic(), Work()
    try:
        yield work
    except BaseException as error:
        logger.warning("%s ended after %.1f s by an error: %s", what, time.monotonic() - began, type(error).__name__)
        raise
    logger.info("%s ended after %.1f s: %s", what, time.monotonic() - began, work.result)
