"""Fixtures that several test files share."""

from collections.abc import Iterator

import pytest
from memorised import Memorised, make_memorised
from tiny import Tiny, make_tiny

from efface.runtime import threads


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small take ten times as long on two threads whose cores are busy."""
    with threads(1):
        yield


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """The smallest problem that shows forgetting; a test that changes its model takes `tiny.fresh()`."""
    return make_tiny()


@pytest.fixture(scope="session")
def known() -> Memorised:
    """A problem whose records the model knows by heart, and models retrained without some of them."""
    return make_memorised()
