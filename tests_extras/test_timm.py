"""timm and torchvision: networks by name, BatchNorm and attention, images without augmentation, checkpoints."""
# ruff: noqa: I001 - extras.vision stands before torchvision

from pathlib import Path
from typing import Any

import extras.vision  # noqa: F401
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset, Subset
from torchvision.transforms import v2

import efface
from efface.integrations.timm import make_task, without_augmentation
from efface.models.init import fresh_model
from extras.pages import code_lines, run_page
from extras.runs import forgot, moved, same_outputs, unlearn

SIZE, CLASSES = 32, 3
EVAL = v2.Identity()


class Images(Dataset[Any]):
    """Noisy images of three classes, of which a share has another label; read through a transform."""

    def __init__(self, n: int, seed: int, transform: Any = None) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.targets = torch.arange(n) % CLASSES
        self.images = 0.6 * torch.randn(n, 3, SIZE, SIZE, generator=generator)
        self.images[torch.arange(n), self.targets] += 0.3
        drawn = torch.randint(CLASSES, (n,), generator=generator)
        self.targets = torch.where(torch.rand(n, generator=generator) < 0.2, drawn, self.targets)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = self.images[index]
        return image if self.transform is None else self.transform(image), int(self.targets[index])


TRAIN, UNSEEN = Images(240, 0), Images(160, 1)


def train(model: nn.Module, epochs: int = 12) -> nn.Module:
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(TRAIN)).split(40):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(TRAIN.images[rows]), TRAIN.targets[rows]).backward()
            optimiser.step()
    return model.eval()


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return train(timm.create_model("test_resnet", num_classes=CLASSES))


@pytest.fixture(scope="module")
def result(resnet: nn.Module) -> efface.Result:
    return unlearn(resnet, make_task(resnet, train=TRAIN, holdout=UNSEEN))


def test_a_model_with_batchnorm_is_unlearned_and_loaded_by_timm(result: efface.Result, tmp_path: Path) -> None:
    assert any(isinstance(m, nn.BatchNorm2d) for m in result.model.modules())
    forgot(result)
    path = str(tmp_path / "new.safetensors")
    result.save(path)
    loaded = timm.create_model("test_resnet", num_classes=CLASSES, checkpoint_path=path)
    same_outputs(loaded, result.model, result.task)


def test_the_page_runs_in_five_lines(resnet: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = torchvision.models.mobilenet_v3_small(num_classes=CLASSES)
    world = {"model": resnet, "train_set": TRAIN, "holdout_set": UNSEEN, "other_model": other, "eval_transform": EVAL}
    names = run_page("timm", world)
    same_outputs(names["loaded"], names["result"].model, names["result"].task)
    assert len(code_lines("timm")) <= 5


def test_a_transformer_needs_no_hook_of_the_user() -> None:
    model = timm.create_model("test_vit", num_classes=CLASSES, img_size=SIZE)
    task = make_task(model, train=TRAIN, holdout=UNSEEN, create={"img_size": SIZE})
    fresh = fresh_model(task, model, 1)
    assert moved(fresh, model) and fresh(TRAIN.images[:2]).shape == (2, CLASSES)
    with pytest.raises(efface.RequestError, match=r"makes another network \(.*pos_embed.* differ\)"):
        make_task(model, train=TRAIN, holdout=UNSEEN)


def test_torchvisions_models_are_made_by_name(tmp_path: Path) -> None:
    model = torchvision.models.mobilenet_v3_small(num_classes=CLASSES)
    with pytest.raises(efface.RequestError, match="does not note its name: give architecture="):
        make_task(model, train=TRAIN, holdout=UNSEEN)
    with pytest.raises(efface.RequestError, match="makes another network"):
        make_task(model, train=TRAIN, holdout=UNSEEN, architecture="resnet18")
    with pytest.raises(efface.RequestError, match="failed"):
        make_task(model, train=TRAIN, holdout=UNSEEN, architecture="resnet_of_no_size")
    task = make_task(
        model, train=TRAIN, holdout=UNSEEN, architecture="mobilenet_v3_small", create={"num_classes": CLASSES}
    )
    fresh = fresh_model(task, model, 1)
    assert moved(fresh, model)
    efface.models.checkpoint.save_weights(fresh, tmp_path / "w.safetensors")  # type: ignore[attr-defined]
    model.load_state_dict(load_file(tmp_path / "w.safetensors"))
    assert moved(fresh, model) == set()


def test_training_images_are_read_without_what_is_random(resnet: nn.Module) -> None:
    augmented = Subset(Images(240, 0, v2.RandomHorizontalFlip(0.5)), range(200))
    task = make_task(resnet, train=augmented, holdout=UNSEEN, eval_transform=EVAL)
    assert task.eval_records is not None and len(task.eval_records) == 200
    assert torch.equal(task.eval_records[7][0], TRAIN[7][0])
    assert isinstance(augmented.dataset.transform, v2.RandomHorizontalFlip)  # type: ignore[attr-defined]
    with pytest.raises(efface.RequestError, match="'transform'"):
        without_augmentation([1, 2], EVAL)


def test_torchvisions_own_data_sets_keep_the_transform_of_targets() -> None:
    data = torchvision.datasets.FakeData(8, (3, 8, 8), 3, transform=v2.RandomHorizontalFlip(1.0))
    data.transforms = torchvision.datasets.vision.StandardTransform(data.transform, lambda y: y + 10)
    same = without_augmentation(data, EVAL)
    assert same.transform is EVAL and same.transforms.transform is EVAL and same.transforms.target_transform(1) == 11
    assert data.transform is not EVAL


def test_a_network_that_cannot_be_reset_names_what_makes_the_task() -> None:
    model = timm.create_model("test_vit", num_classes=CLASSES, img_size=SIZE)
    with pytest.raises(efface.RequestError, match=r"give Task\.build_model; or efface\.integrations\.timm\.make_task"):
        efface.check(model, train=TRAIN, holdout=UNSEEN, forget=[1, 2, 3])
