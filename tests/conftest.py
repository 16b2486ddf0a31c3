"""Fixtures that several test files share."""

import pytest
from tiny import Tiny, make_tiny


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """The smallest problem that shows forgetting; a test that changes its model takes `tiny.fresh()`."""
    return make_tiny()
