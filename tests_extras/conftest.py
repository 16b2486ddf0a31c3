"""Tests against the libraries themselves, one or more files a library: `make test-extras`."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
if find_spec("torchvision") is not None:
    import extras.vision  # noqa: F401 - transformers imports torchvision where it is there


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings here are those of the libraries, which efface cannot mend."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("default"))
