"""What all integrations share: missing libraries, and folders that appear as a whole; `tests_extras` has the rest."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import efface
from efface.integrations import graphs, library, lightning, mlflow, new_folder, peft, skorch, tables, timm, transformers

# what imports the library in each file, whatever else it is given
CALLS: dict[str, tuple[str, Callable[[], Any]]] = {
    "transformers": ("transformers", lambda: transformers.make_task(nn.Linear(2, 2))),
    "peft": ("peft", lambda: peft.make_task(nn.Linear(2, 2), base_saw_records=False)),
    "timm": ("torchvision", lambda: timm.make_task(nn.Linear(2, 2), train=[], holdout=[], architecture="resnet18")),
    "skorch": ("skorch", lambda: skorch.make_task(None, None, holdout=None)),
    "mlflow": ("mlflow", lambda: mlflow.log(None)),  # type: ignore[arg-type]
    "graphs": ("torch_geometric", lambda: graphs.node_task(None, holdout=None)),
    "lightning": ("lightning", lambda: lightning._library(nn.Linear(2, 2))),
}


@pytest.mark.parametrize("extra", CALLS)
def test_a_missing_library_is_named_with_what_installs_it(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, call = CALLS[extra]
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    with pytest.raises(efface.RequestError) as caught:
        call()
    assert caught.value.problems == (
        f"efface.integrations.{extra} needs {name}, which is not installed: pip install 'efface[{extra}]'",
    )


def test_a_library_that_lacks_one_of_its_own_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "incomplete_library.py").write_text("import no_such_library_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_library_at_all"):
        library("incomplete_library", "timm")


def test_a_folder_appears_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyError), new_folder(tmp_path / "a") as folder:
        (folder / "half").touch()
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "b" / "c") as folder:
        (folder / "all").touch()
        assert not (tmp_path / "b" / "c").exists()
    assert [p.name for p in (tmp_path / "b" / "c").iterdir()] == ["all"]
    with pytest.raises(efface.RequestError, match="holds files already"), new_folder(tmp_path / "b"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(efface.RequestError, match="is not a folder"), new_folder(tmp_path / "file"):
        pass


class Frame:
    """What a pandas table offers, as far as tables are read by it."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns, self._values = list(columns), columns

    def __getitem__(self, name: str) -> Any:
        return torch.tensor(self._values[name])

    def __len__(self) -> int:
        return len(self._values[self.columns[0]])


def test_columns_become_inputs_targets_ids_and_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "to_numpy", torch.Tensor.numpy, raising=False)
    table = Frame({"a": [1.0, 2.0], "b": [3, 4], "y": [0, 1], "k": [7, 9], "p": [5, 5]})
    task = tables.make_task(table, table, inputs=["b", "a"], target="y", ids="k", groups="p")
    assert task.train.tensors[0].tolist() == [[3, 1], [4, 2]]  # type: ignore[attr-defined]
    assert (list(task.ids or ()), list(task.groups or ()), list(task.holdout_groups or ())) == ([7, 9], [5, 5], [5, 5])
    with pytest.raises(efface.RequestError) as caught:
        tables.make_task(table, table, inputs=["a", "c"], target="z")
    assert len(caught.value.problems) == 4
