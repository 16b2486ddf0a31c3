"""Lightning: modules and data modules as tasks, and checkpoints that `load_from_checkpoint` reads."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import efface
from efface.integrations.lightning import make_task, save
from efface.models.init import fresh_model
from extras.pages import code_lines, run_page
from extras.rows import Net, classes
from extras.runs import FORGET, forgot, margins, moved, same_outputs, unlearn

QUIET: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}


class Classifier(L.LightningModule):
    """A classifier as Lightning's users write one."""

    def __init__(self, width: int, lr: float = 5e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = Net()
        self.more = nn.Linear(3, 3) if width > 48 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.more(self.net(x))  # type: ignore[no-any-return]

    def training_step(self, batch: Any, _: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


class Data(L.LightningDataModule):
    """Records of three classes."""

    def setup(self, stage: str) -> None:
        self.sets = {name: TensorDataset(*classes(n, k)) for k, (name, n) in enumerate(SIZES.items())}

    def _loader(self, name: str) -> "DataLoader[Any]":
        return DataLoader(self.sets[name], 50, shuffle=name == "train")

    def train_dataloader(self) -> "DataLoader[Any]":
        return self._loader("train")

    def val_dataloader(self) -> "DataLoader[Any]":
        return self._loader("val")

    def test_dataloader(self) -> "DataLoader[Any]":
        return self._loader("test")


SIZES = {"train": 300, "val": 200, "test": 200}


def new_trainer() -> L.Trainer:
    return L.Trainer(max_epochs=25, accelerator="cpu", enable_model_summary=False, **QUIET)


@pytest.fixture(scope="module")
def module() -> Classifier:
    L.seed_everything(0)
    made = Classifier(width=64)
    new_trainer().fit(made, Data())
    return made


@pytest.fixture(scope="module")
def result(module: Classifier) -> efface.Result:
    return unlearn(module, make_task(module, Data(), holdout="test", trainer=new_trainer))


def test_a_module_is_unlearned_and_loaded_from_its_checkpoint(
    result: efface.Result, module: Classifier, tmp_path: Path
) -> None:
    forgot(result)
    save(result, tmp_path / "new.ckpt")
    loaded = Classifier.load_from_checkpoint(tmp_path / "new.ckpt")
    assert loaded.hparams == module.hparams
    same_outputs(loaded, result.model, result.task)
    held = torch.load(tmp_path / "new.ckpt", weights_only=True)
    assert not {"optimizer_states", "callbacks", "lr_schedulers"} & held.keys() and held["epoch"] == 0
    with pytest.raises(efface.RequestError, match=r"ends in \.ckpt"):
        save(result, tmp_path / "new.pt")


def test_the_task_is_that_of_the_data_module(result: efface.Result, module: Classifier) -> None:
    assert len(result.task.train) == 300 and result.task.holdout_used_for == "nothing"
    task = make_task(module, Data(), holdout="val", test="test")
    assert task.holdout_used_for == "validation during training" and task.fit is None
    with pytest.raises(efface.RequestError, match="name of a loader"):
        make_task(module, Data(), holdout="tset")
    with pytest.raises(efface.RequestError, match="expected a LightningDataModule, got DataLoader"):
        make_task(module, DataLoader(task.train), holdout="test")  # type: ignore[arg-type]
    with pytest.raises(efface.RequestError, match="lambda: Trainer"):
        make_task(module, Data(), holdout="val", trainer=new_trainer())  # type: ignore[arg-type]
    with pytest.raises(efface.RequestError, match="expected a LightningModule, got Net"):
        make_task(Net(), Data(), holdout="val")


def test_a_new_module_has_the_hyperparameters_and_the_trainer_trains_it(
    result: efface.Result, module: Classifier
) -> None:
    fresh = fresh_model(result.task, module, 4)
    assert moved(fresh, module) and isinstance(fresh, Classifier) and fresh.hparams == module.hparams
    result.task.fit(fresh, Subset(result.task.train, range(30, 300)), 4)
    assert margins(fresh, result.task, list(range(30, 90))).mean() > margins(fresh, result.task, FORGET).mean() + 0.3


def test_the_page_runs_in_five_lines(module: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = {"module": module, "data": Data(), "MyModule": Classifier}
    names = run_page("lightning", world)
    same_outputs(names["loaded"], names["result"].model, names["result"].task)
    assert len(code_lines("lightning")) <= 5


def test_a_data_module_given_as_records_names_what_makes_the_task(module: Classifier, result: efface.Result) -> None:
    with pytest.raises(efface.RequestError, match=r"or efface\.integrations\.lightning\.make_task makes the task"):
        efface.check(module, train=Data(), holdout=result.task.holdout, forget=FORGET)  # type: ignore[arg-type]
