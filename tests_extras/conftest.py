"""Tests against the libraries themselves, one or more files a library: `make test-extras`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings here are those of the libraries, which efface cannot mend."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("default"))
