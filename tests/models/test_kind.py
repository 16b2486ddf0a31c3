"""The kind of a task is found by outputs and targets where it can be, and must be stated where it cannot."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import efface
from efface import RequestError, UnlearnOptions
from efface.data.records import Records
from efface.models.kind import with_kind
from efface.request import Request, check_others, check_request
from helpers.kinds import BUILDERS, KEYS, POSITIONS, RECORDS, TinyKind, tiny_kind

WIDTHS = {"classes": 3, "binary": 1, "multilabel": 5, "regression": 2, "tokens": 8}


class Ended(nn.Module):
    """A network whose outputs are changed by a function."""

    def __init__(self, net: nn.Module, end: object) -> None:
        super().__init__()
        self.net, self.end = net, end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.net(x))


def checked(tiny: TinyKind, **changes: object) -> Request:
    return check_request(tiny.model, tiny.task(**changes), tiny.forget, full=True)


def refused(model: nn.Module, tiny: TinyKind, **changes: object) -> str:
    with pytest.raises(RequestError) as caught:
        check_request(model, tiny.task(**changes), tiny.forget, full=True)
    return str(caught.value)


@pytest.mark.parametrize("key", KEYS)
def test_the_kind_is_found_and_all_records_use_it(key: str) -> None:
    tiny = tiny_kind(key)
    request = checked(tiny, test=tiny.data["test"])
    rules = request.task.rules
    assert rules.key == key and not rules.needs_labels
    assert request.test is not None
    assert request.train.rules is request.holdout.rules is request.test.rules is rules
    assert (request.classes, request.width) == ({"classes": 3, "binary": 2}.get(key, 0), WIDTHS[key])
    assert bool(request.class_shares) is rules.has_classes
    assert not request.forget_classes
    assert request.warnings == ()


def test_the_scale_of_real_values_is_their_spread_unless_it_is_stated() -> None:
    tiny = tiny_kind("regression")
    found = checked(tiny).task.rules
    assert found.scale == pytest.approx(tiny.data["train"].tensors[1].std(0).tolist())
    assert checked(tiny, kind=efface.Regression(scale=(2.0, 3.0))).task.rules.scale == (2.0, 3.0)


def test_a_kind_is_not_found_where_nothing_can_be_read() -> None:
    tiny = tiny_kind("binary")
    for model in (nn.Linear(7, 1), nn.LazyLinear(1), nn.Identity()):
        task = tiny.task()
        assert with_kind(model, task, Records(task.train, task)) is task


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("classes", [2]),
        ("multilabel", ["0, 2", "none"]),
        ("regression", ["0.3333, -2", "4e+06, 0"]),
        ("tokens", ["3 positions", "1 positions"]),
    ],
)
def test_labels_are_said_in_short(key: str, expected: list[object]) -> None:
    targets = {
        "classes": torch.tensor([2]),
        "multilabel": torch.tensor([[1.0, 0, 1], [0, 0, 0]]),
        "regression": torch.tensor([[1 / 3, -2], [4e6, 0]]),
        "tokens": torch.tensor([[0, 1, 2], [4, -100, -100]]),
    }
    rules = efface.Task(train=[], holdout=[], kind=key).rules
    assert rules.in_short(rules.labels(targets[key])) == expected


def test_one_logit_and_zeros_and_ones_need_nothing_more() -> None:
    """As integers, floating-point numbers or a column; of outputs with or without their last dimension."""
    tiny = tiny_kind("binary")
    y = tiny.data["train"].tensors[1]
    for targets in (y, y.float(), y[:, None], y.bool()):
        given = {name: TensorDataset(data.tensors[0], targets[: len(data)]) for name, data in tiny.data.items()}
        task = tiny.task(train=given["train"], holdout=given["holdout"])
        for model in (tiny.model, Ended(tiny.model, lambda z: z.squeeze(1))):
            assert with_kind(model, task, Records(task.train, task)).rules.key == "binary"


@pytest.mark.parametrize("key", ["binary", "multilabel"])
def test_a_sigmoid_at_the_end_is_refused_with_the_line_that_mends_it(key: str) -> None:
    tiny = tiny_kind(key)
    line = refused(Ended(tiny.model, torch.sigmoid), tiny, build_model=None)
    assert "are no logits: take the sigmoid off, or give Task.forward=lambda model, inputs: model(inputs)" in line
    code = line.partition("Task.forward=")[2].splitlines()[0]
    check_request(Ended(tiny.model, torch.sigmoid), tiny.task(forward=eval(code), build_model=None), [1], full=True)


def test_a_softmax_over_positions_is_refused() -> None:
    tiny = tiny_kind("tokens")
    line = refused(Ended(tiny.model, lambda z: z.softmax(2)), tiny, build_model=None)
    assert "the model returns probabilities" in line and "model(inputs).float().clamp_min(1e-30).log()" in line


def test_real_values_between_0_and_1_are_taken() -> None:
    tiny = tiny_kind("regression")
    x, y = tiny.data["train"].tensors
    task = tiny.task(train=TensorDataset(x, y.sigmoid()), holdout=TensorDataset(*tiny.data["holdout"].tensors))
    model = Ended(tiny.model, torch.sigmoid)
    check_request(model, efface.Task(train=task.train, holdout=task.holdout), [1], full=True, fresh=False)


@pytest.mark.parametrize("key", ["binary", "multilabel", "regression", "tokens"])
def test_outputs_must_be_the_same_alone_and_in_company_and_twice(key: str) -> None:
    tiny = tiny_kind(key)
    noun = "outputs" if key == "regression" else "logits"
    mixed = Ended(tiny.model, lambda z: z + z.abs().mean() * torch.arange(z.shape[-1]).add(1))
    assert f"the {noun} of a record depend on the others" in refused(mixed, tiny, build_model=None)
    drawn = Ended(tiny.model, lambda z: z + z.abs().mean() * torch.randn(z.shape))
    assert f"the model's {noun} differ when the same records are read twice" in refused(drawn, tiny, build_model=None)


@pytest.mark.parametrize("key", ["multilabel", "regression", "tokens"])
def test_other_models_must_have_outputs_as_wide(key: str) -> None:
    tiny = tiny_kind(key)
    request = checked(tiny)
    other = BUILDERS[key]()
    last = next(m for m in reversed([*other.modules()]) if isinstance(m, nn.Linear))
    last.weight, last.bias = nn.Parameter(torch.randn(9, last.in_features)), nn.Parameter(torch.zeros(9))
    with pytest.raises(RequestError, match=rf"unlearned: it has 9 \w+ where the original has {WIDTHS[key]}"):
        check_others({"unlearned": other}, request)


WRONG = {
    "binary": (torch.full((RECORDS,), 2), 'if they are of another kind, state it: Task.kind="regression"'),
    "multilabel": (torch.full((RECORDS, 5), 0.5), "expected 0 or 1 for each label, got other values"),
    "regression": (torch.full((RECORDS, 2), torch.nan), "targets of training records: they hold NaN or infinite"),
    "tokens": (torch.full((RECORDS, POSITIONS), 8), "targets of training records: the model has classes 0 to 7, got 8"),
}


@pytest.mark.parametrize("key", WRONG)
def test_one_wrong_target_is_found_among_all(key: str) -> None:
    tiny = tiny_kind(key)
    x, y = tiny.data["train"].tensors
    wrong, message = WRONG[key]
    spoiled = TensorDataset(x, torch.cat([y[:7], wrong[7:8].to(y.dtype), y[8:]]))
    assert message in refused(tiny.model, tiny, train=spoiled)


def test_what_cannot_be_told_is_asked_and_taken_once_it_is_stated() -> None:
    tiny = tiny_kind("multilabel")
    x = tiny.data["train"].tensors[0]
    one_hot = nn.functional.one_hot(torch.arange(RECORDS) % 5).float()
    task = {"train": TensorDataset(x, one_hot), "holdout": TensorDataset(x[:200] + 1, one_hot[:200])}
    line = refused(tiny.model, tiny, **task)
    assert "they look one-hot: give .argmax(1) in Task.unpack" in line and 'Task.kind="multilabel"' in line
    request = check_request(tiny.model, tiny.task(**task, kind="multilabel"), [1], full=False)
    assert request.task.rules.key == "multilabel"


def test_twins_with_other_targets_of_any_shape_are_told_apart() -> None:
    tiny = tiny_kind("multilabel")
    x, y = (part.clone() for part in tiny.data["train"].tensors)
    x[100], x[101], y[100], y[101] = x[5], x[10], y[5], 1 - y[10]
    line = refused(tiny.model, tiny, train=TensorDataset(x, y))
    assert "5 (twin of 100), 10 (twin of 101 with another label)" in line


@pytest.mark.parametrize("key", KEYS)
def test_a_run_by_the_default_method_erases_from_a_model_of_each_kind(key: str) -> None:
    tiny = tiny_kind(key)
    options = UnlearnOptions(reference=tiny.reference)
    result = efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(), options=options, progress=False)
    x, y = tiny.data["train"].tensors
    at, rules = list(tiny.forget), result.task.rules
    before, after = (
        rules.margin(rules.values(model(x[at]).detach(), y[at]), rules.labels(y[at])).mean()
        for model in (tiny.model, result.model)
    )
    assert after < before
    first = result.evidence.evaluations[0]
    assert first.auc.value > 0.5 and first.utility == rules.measure


@pytest.mark.parametrize("method", ["random_label", "influence"])
def test_a_method_that_cannot_take_a_kind_is_refused_before_any_work(method: str) -> None:
    tiny = tiny_kind("tokens" if method == "influence" else "regression")
    asked = {"forget": tiny.forget, "task": tiny.task(fit=None), "method": method}
    with pytest.raises(RequestError, match=method):
        efface.unlearn(tiny.model, **asked)
    with pytest.raises(RequestError, match=method):
        efface.check(tiny.model, **asked)


class Small(nn.Module):
    """One logit that an untrained network happens to put between 0 and 1 for every record."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.start = tiny_kind("binary").fresh(), nn.Parameter(torch.tensor(1.0))

    def reset(self) -> "Small":
        with torch.no_grad():
            self.start.zero_()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.start * self.net(x) + (1 - self.start) * 0.5
        return out


def test_logits_of_an_untrained_network_may_lie_between_0_and_1_by_chance() -> None:
    tiny = tiny_kind("binary")
    task = tiny.task(build_model=lambda: Small().reset(), fit=None)
    assert len(efface.check(Small(), forget=tiny.forget, task=task).records) == len(tiny.forget)
    with pytest.raises(RequestError, match="like probabilities that a sigmoid made"):
        efface.check(Small().reset(), forget=tiny.forget, task=task)
