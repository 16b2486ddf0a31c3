"""Networks within torch.compile, DataParallel and their like: unlearned, judged, saved and loaded as plain ones."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

import efface
from efface import RequestError, UnlearnOptions
from efface.models.checkpoint import load_weights, save_weights, weights_digest
from efface.models.init import fresh_model
from efface.models.wrappers import plain_names, plain_network
from helpers.tiny import Tiny, bits, mlp

# torch.compile imports parts of torch that warn of others that are deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

Wrap = Callable[[nn.Module], nn.Module]
FAST = {"method": efface.methods.get("steer", {"rounds": "1", "steps": "8"}), "options": UnlearnOptions(evaluate=False)}


def compiled(model: nn.Module) -> nn.Module:
    """A compiled network; it is never run here, since that would need a C++ compiler."""
    return torch.compile(model)  # type: ignore[return-value]


WRAPS: dict[str, Wrap] = {
    "compiled": compiled,
    "data parallel": DataParallel,
    "averaged": AveragedModel,
    "compiled data parallel": lambda m: compiled(DataParallel(m)),
    "data parallel of compiled": lambda m: DataParallel(compiled(m)),
}


class Parts(nn.Module):
    """A network of which one part is wrapped, under two names."""

    def __init__(self, wrap: Wrap = lambda m: m) -> None:
        super().__init__()
        first, last = mlp()[0], mlp()[2]
        self.body = wrap(nn.Sequential(first, nn.ReLU()))
        self.stages = nn.ModuleList([self.body, last])

    def forward(self, x: Tensor) -> Any:
        for stage in self.stages:
            x = stage(x)
        return x


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_wrapped_network_is_the_one_within(wrap: Wrap) -> None:
    model = mlp()
    assert plain_network(model) is model
    inner = plain_network(wrap(model))
    assert type(inner) is nn.Sequential
    assert weights_digest(wrap(model)) == weights_digest(model) == weights_digest(inner)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_wrapped_network_is_saved_and_loaded_under_plain_names(tmp_path: Path, wrap: Wrap) -> None:
    model, path = mlp(), tmp_path / "w.safetensors"
    assert save_weights(wrap(model), path) == weights_digest(model)
    assert load_file(path).keys() == model.state_dict().keys()
    others = mlp(), wrap(mlp())
    for other in others:
        load_weights(other, path)
        assert weights_digest(other) == weights_digest(model)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_state_dict_with_the_wrappers_names_is_loaded(tmp_path: Path, wrap: Wrap) -> None:
    model, path = mlp(), tmp_path / "w.pt"
    torch.save(wrap(model).state_dict(), path)
    for other in (mlp(), compiled(mlp())):
        load_weights(other, path)
        assert weights_digest(other) == weights_digest(model)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_wrapped_parts_have_plain_names_too(tmp_path: Path, wrap: Wrap) -> None:
    model, twin = Parts(wrap), Parts()
    whole = compiled(model)
    state = {plain: model.state_dict()[name] for name, plain in plain_names(model).items()}
    assert list(state) == list(twin.state_dict())
    twin.load_state_dict(state)
    digests = {weights_digest(m) for m in (model, twin, whole, plain_network(whole))}
    assert len(digests) == 1
    for name, tensors in (("a.pt", model.state_dict()), ("b.pt", whole.state_dict()), ("c.pt", state)):
        torch.save(tensors, tmp_path / name)
        for other in (Parts(), Parts(wrap)):
            load_weights(other, tmp_path / name)
            assert weights_digest(other) in digests


def test_a_network_with_wrapped_parts_is_copied_without_them_and_shares_the_weights() -> None:
    model = Parts(compiled)
    inner = plain_network(model)
    assert type(inner.body) is nn.Sequential and inner.body is inner.stages[0]
    assert type(model.body) is not nn.Sequential
    assert [id(p) for p in inner.parameters()] == [id(p) for p in model.parameters()]


def test_compiling_in_place_is_taken_off_too() -> None:
    model = mlp()
    model.compile()
    inner = plain_network(model)
    assert inner._compiled_call_impl is None and model._compiled_call_impl is not None
    assert inner[0].weight is model[0].weight


def test_a_users_own_kind_of_wrapper_is_a_network() -> None:
    class Scaled(DataParallel):
        def forward(self, x: Tensor) -> Any:
            return 2 * super().forward(x)

    class Adapted(DataParallel):
        def __init__(self, module: nn.Module) -> None:
            super().__init__(module)
            self.scale = nn.Parameter(torch.ones(()))

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = mlp()

    for model in (Scaled(mlp()), Adapted(mlp()), Named()):
        assert plain_network(model) is model
        assert "module.0.weight" in plain_names(model).values()


def test_the_count_of_an_averaged_model_is_left_out_and_a_networks_own_is_not() -> None:
    model = mlp()
    model.register_buffer("n_averaged", torch.zeros(2))
    for wrapped in (DataParallel(model), AveragedModel(DataParallel(model)), DataParallel(AveragedModel(model))):
        assert list(plain_names(wrapped).values()) == list(model.state_dict())
        assert weights_digest(wrapped) == weights_digest(model)


def test_an_infinite_weight_of_a_wrapped_network_is_not_saved(tmp_path: Path) -> None:
    model = mlp()
    with torch.no_grad():
        model[2].bias[0] = float("inf")
    with pytest.raises(efface.DivergedError, match=r"2\.bias; nothing was saved"):
        save_weights(compiled(model), tmp_path / "w.safetensors")


@pytest.mark.parametrize("wrap", [compiled, DataParallel], ids=["compiled", "data parallel"])
def test_unlearning_a_wrapped_model_is_unlearning_the_network_within(tiny: Tiny, wrap: Wrap, tmp_path: Path) -> None:
    model = tiny.fresh()
    before = bits(model)
    plain = efface.unlearn(model, forget=tiny.forget, task=tiny.task(), **FAST)
    result = efface.unlearn(wrap(model), forget=tiny.forget, task=tiny.task(), **FAST)
    assert type(result.model) is nn.Sequential and bits(model) == before
    assert result.save(tmp_path / "w.safetensors") == weights_digest(plain.model) != weights_digest(model)
    assert load_file(tmp_path / "w.safetensors").keys() == model.state_dict().keys()


def test_a_model_with_a_compiled_part_is_unlearned(tiny: Tiny) -> None:
    model = Parts()
    model.stages[0][0].load_state_dict(tiny.model[0].state_dict())
    model.stages[1].load_state_dict(tiny.model[2].state_dict())
    expected = efface.unlearn(model, forget=tiny.forget, task=tiny.task(), **FAST)
    wrapped = Parts(compiled)
    wrapped.load_state_dict({f: model.state_dict()[p] for f, p in plain_names(wrapped).items()})
    for build in (None, lambda: Parts(compiled), Parts):
        result = efface.unlearn(wrapped, forget=tiny.forget, task=tiny.task(build_model=build), **FAST)
        assert weights_digest(result.model) == weights_digest(expected.model) or build is not None
        assert not any("_orig_mod" in name for name in result.model.state_dict())


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("wrap", [DistributedDataParallel, lambda m: compiled(DistributedDataParallel(m))])
def test_a_distributed_model_is_unlearned(tiny: Tiny, wrap: Wrap) -> None:
    plain = efface.unlearn(tiny.fresh(), forget=tiny.forget, task=tiny.task(), **FAST)
    result = efface.unlearn(wrap(tiny.fresh()), forget=tiny.forget, task=tiny.task(), **FAST)
    assert weights_digest(result.model) == weights_digest(plain.model)
    assert type(result.model) is nn.Sequential


def test_an_audit_takes_wrapped_models(tiny: Tiny) -> None:
    other = copy.deepcopy(tiny.model)
    with torch.no_grad():
        other[2].bias.add_(0.1)
    task = tiny.task()
    how = {"forget": tiny.forget, "task": task, "level": "quick"}
    plain = efface.audit_models(tiny.fresh(), other, retrained=[mlp()], **how)
    wrapped = efface.audit_models(compiled(tiny.fresh()), DataParallel(other), retrained=(compiled(mlp()),), **how)
    assert wrapped.document["weights"] == plain.document["weights"]


def test_build_model_and_fit_may_give_wrapped_networks(tiny: Tiny) -> None:
    built = fresh_model(tiny.task(build_model=lambda: compiled(mlp())), tiny.model, 0)
    assert type(built) is nn.Sequential

    def fit(model: nn.Module, dataset: Any, seed: int) -> nn.Module:
        assert type(model) is nn.Sequential
        return compiled(model)

    task = tiny.task(build_model=lambda: compiled(mlp()), fit=fit)
    result = efface.unlearn(tiny.model, forget=tiny.forget, task=task, method="retrain")
    assert type(result.model) is nn.Sequential


def test_a_forward_that_asks_for_the_wrapper_is_refused_by_name(tiny: Tiny) -> None:
    task = tiny.task(forward=lambda model, x: model.module(x))
    with pytest.raises(RequestError, match=r"within torch.compile or DataParallel: leave out \.module"):
        efface.unlearn(DataParallel(tiny.fresh()), forget=tiny.forget, task=task, **FAST)


@pytest.mark.usefixtures("group")
def test_a_sharded_model_is_refused(tiny: Tiny) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = tiny.fresh()
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(RequestError, match=r"is shared out among processes \(.+\), and none has all of its weights"):
        efface.unlearn(model, forget=tiny.forget, task=tiny.task(), **FAST)
