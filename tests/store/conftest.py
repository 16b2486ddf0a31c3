"""Fixtures that tests of the store share."""

from pathlib import Path

import pytest

from efface.store import Store
from helpers.store_cases import task_of
from helpers.tiny import Tiny


@pytest.fixture
def store(tmp_path: Path, tiny: Tiny) -> Store:
    return Store.create(tmp_path / "store", task_of(tiny), tiny.model)
