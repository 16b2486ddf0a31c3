"""Files that are written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from efface.runtime.files import STAGES, atomic_write, replace_durably


def test_a_file_takes_its_place_at_the_end_of_the_block(tmp_path: Path) -> None:
    path, stages = tmp_path / "file", list[str]()
    path.write_text("old")
    with atomic_write(path, 0o600, stages.append) as temporary:
        temporary.write_text("new")
        assert (path.read_text(), temporary.parent, stages) == ("old", tmp_path, [])
    assert (path.read_text(), stages) == ("new", list(STAGES))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stage", ["block", "synced"])
def test_a_failure_before_the_name_is_given_leaves_what_was_there(tmp_path: Path, stage: str) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fails(reached: str) -> None:
        if reached == stage:
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"), atomic_write(path, reached=fails) as temporary:
        temporary.write_text("new")
        fails("block")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_an_empty_one(tmp_path: Path) -> None:
    made, place = tmp_path / "made", tmp_path / "place"
    for folder in (made, place):
        folder.mkdir()
    (made / "file").write_text("new")
    replace_durably(made, place)
    assert [p.name for p in tmp_path.rglob("*")] == ["place", "file"]
    made.mkdir()
    with pytest.raises(OSError):
        replace_durably(made, place)
    assert (place / "file").read_text() == "new"


def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("old")
    (tmp_path / "made").symlink_to("new")
    replace_durably(tmp_path / "made", tmp_path / "link")
    assert os.readlink(tmp_path / "link") == "new"
    assert (tmp_path / "old").read_text() == "old"
