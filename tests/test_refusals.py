"""Every request that `efface.unlearn` refuses: before any work, with every reason, and the model as it was."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from refused import Augmenting, Scaled, Streaming, Wrapped, fails, poisoned
from tiny import CLASSES, HOLDOUT, RECORDS, Tiny, bits
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import efface
from efface import RequestError
from efface.types import RecordId

Break = Callable[[Tiny], dict[str, Any]]
NAN = float("nan")


def task(**changes: Callable[[Tiny], Any]) -> Break:
    """A request whose task differs in some fields."""
    return lambda tiny: {"task": tiny.task(**{name: make(tiny) for name, make in changes.items()})}


def forget(value: Any) -> Break:
    return lambda tiny: {"forget": value}


def model(make: Callable[[Tiny], Any]) -> Break:
    return lambda tiny: {"model": make(tiny)}


def method(value: Any) -> Break:
    return lambda tiny: {"method": value}


def put(values: Tensor, at: int | tuple[int, int], value: Any) -> Tensor:
    """A copy with one entry (or row) replaced."""
    copy = values.clone()
    copy[at] = value
    return copy


def data(x: Tensor, y: Any) -> TensorDataset:
    return TensorDataset(x, y)


def names(number: int) -> list[RecordId]:
    return [f"r{i}" for i in range(number)]


def class_of(tiny: Tiny, rare: int = 10) -> TensorDataset:
    """Training records in which class 2 is held by the first records alone."""
    y = tiny.y.clone()
    y[y == 2] = 0
    y[:rare] = 2
    return data(tiny.x, y)


REFUSALS: dict[str, tuple[Break, str]] = {
    # the forget set
    "unknown ids": (forget((1, 900, 901, 902, 903)), "4 forget ids are not in the training records (indices 0 to 299)"),
    "unknown ids are named": (forget((1, 900, 901, 902, 903)), "900, 901, 902 and 1 more"),
    "a negative id": (forget((-1,)), "1 forget ids are not in the training records"),
    "an unknown name": (
        lambda tiny: {"task": tiny.task(ids=names(RECORDS)), "forget": ["r1", "r900"]},
        "(the ids given): 'r900'",
    ),
    "an index where there are names": (task(ids=lambda tiny: names(RECORDS)), "12 forget ids are not in"),
    "duplicate ids": (forget((1, 2, 1, 2, 3)), "the forget set names 1, 2 more than once (2 ids)"),
    "nothing to forget": (forget(()), "the forget set is empty"),
    "everything": (forget(tuple(range(RECORDS))), "holds every training record"),
    "too large a share": (forget(tuple(range(90))), "is 30% of the training records; requests above 20%"),
    "a whole class": (
        lambda tiny: {"task": tiny.task(train=class_of(tiny)), "forget": range(10)},
        "every record of class 2",
    ),
    "one name as text": (forget("r12"), "forget: expected a sequence of record ids, got str"),
    "one index": (forget(12), "expected a sequence of record ids, got int"),
    "ids of another kind": (forget([[1, 2]]), "record ids are integers or strings, got [1, 2]"),
    "fractions": (forget([1.5]), "record ids are integers or strings, got 1.5"),
    # ids
    "ids too few": (
        lambda tiny: {"task": tiny.task(ids=names(9)), "forget": ["r3"]},
        "expected one id for each of the 300 training records, got 9",
    ),
    "ids too many": (
        lambda tiny: {"task": tiny.task(ids=names(310)), "forget": ["r305"]},
        "expected one id for each of the 300 training records, got 310",
    ),
    "ids in a tensor": (
        lambda tiny: {"task": tiny.task(ids=torch.arange(RECORDS)), "forget": [3]},
        "ids: record ids are integers or strings, got tensor(0), tensor(1), tensor(2) and 297 more",
    ),
    "ids not unique": (
        lambda tiny: {"task": tiny.task(ids=["r7", *names(RECORDS)[1:]]), "forget": ["r3"]},
        "ids name more than one training record: 'r7'",
    ),
    # records
    "a twin stays": (
        task(train=lambda t: data(put(t.x, 200, t.x[5]), put(t.y, 200, t.y[5]))),
        "1 forget records have an exact twin that stays in training, which defeats forgetting: 5 (twin of 200)",
    ),
    "a twin by name": (
        lambda t: {
            "task": t.task(train=data(put(t.x, 200, t.x[5]), put(t.y, 200, t.y[5])), ids=names(RECORDS)),
            "forget": ["r5"],
        },
        "'r5' (twin of 'r200')",
    ),
    "a holdout record in training": (
        task(holdout=lambda t: data(put(t.holdout_x, 4, t.x[77]), put(t.holdout_y, 4, t.y[77]))),
        "1 holdout records are also training records (by content), the first at holdout position 4",
    ),
    "a holdout too small": (
        task(holdout=lambda t: data(t.holdout_x[:40], t.holdout_y[:40])),
        "the holdout has 40 records; at least 100",
    ),
    "an empty holdout": (task(holdout=lambda t: data(t.holdout_x[:0], t.holdout_y[:0])), "the holdout has 0 records"),
    "too few to keep": (
        lambda t: {"task": t.task(train=data(t.x[:61], t.y[:61])), "forget": [1, 2]},
        "59 records would remain; at least 60",
    ),
    "NaN in training": (
        task(train=lambda t: data(put(t.x, (150, 0), NAN), t.y)),
        "inputs of training records hold NaN",
    ),
    "inf in training": (
        task(train=lambda t: data(put(t.x, (150, 0), float("inf")), t.y)),
        "inputs of training records hold NaN or infinite",
    ),
    "NaN in the holdout": (
        task(holdout=lambda t: data(put(t.holdout_x, (3, 0), NAN), t.holdout_y)),
        "inputs of holdout records hold NaN",
    ),
    "NaN in a forget record, without the pass over all": (
        lambda t: {"task": t.task(train=data(put(t.x, (5, 0), NAN), t.y)), "checks": False},
        "inputs of forget records hold NaN",
    ),
    "a target too high": (
        task(train=lambda t: data(t.x, put(t.y, 9, CLASSES))),
        "targets of training records: the model has classes 0 to 2, got 3",
    ),
    "a target below 0": (task(holdout=lambda t: data(t.holdout_x, put(t.holdout_y, 9, -1))), "classes 0 to 2, got -1"),
    "float targets": (
        task(train=lambda t: data(t.x, t.y.float())),
        "targets of training records: expected one integer class a record, got torch.float32",
    ),
    "two targets a record": (
        task(train=lambda t: data(t.x, torch.stack([t.y, t.y], 1))),
        "expected one integer class a record, got torch.int64 of 2-D",
    ),
    "random augmentation": (task(train=Augmenting), "the dataset augments at random: give Task.eval_records"),
    "random augmentation that spares the forget record": (
        lambda t: {"task": t.task(train=Augmenting(t)), "forget": [7]},
        "the dataset augments at random",
    ),
    "records of another shape": (
        task(train=lambda t: [(x, y, 0) for x, y in zip(t.x, t.y, strict=True)]),
        "training records cannot be read (ValueError: too many values to unpack (expected 2)",
    ),
    "no way to stack records": (
        task(holdout=lambda t: [(t.holdout_x[i, : 4 + i % 2], 0) for i in range(HOLDOUT)]),
        "holdout records cannot be read (RuntimeError: stack expects each tensor to be equal size",
    ),
    "a stream": (task(train=lambda t: Streaming()), "train: expected a map-style dataset with a length and an index"),
    "a holdout without a length": (task(holdout=lambda t: iter(())), "holdout: expected a map-style dataset"),
    "eval_records of another length": (
        task(eval_records=lambda t: data(t.x[:299], t.y[:299])),
        "eval_records has another length than train",
    ),
    # the model
    "NaN in the weights": (model(poisoned), "the model's weights hold NaN or infinite values"),
    "not a model": (model(lambda t: torch.sum), "model: expected a torch.nn.Module"),
    "no parameters": (model(lambda t: nn.Identity()), "the model has no parameters"),
    "3-D logits": (model(lambda t: Wrapped(lambda z: z[:, None])), "for 2 records it gave a tensor of shape (2, 1, 3)"),
    "1-D logits": (model(lambda t: Wrapped(lambda z: z[:, 0])), "for 2 records it gave a tensor of shape (2,)"),
    "a tuple": (model(lambda t: Wrapped(lambda z: (z, z))), "for 2 records it gave tuple: give Task.forward"),
    "classes, not logits": (model(lambda t: Wrapped(lambda z: z.long())), "the model must return logits"),
    "one logit": (model(lambda t: Wrapped(lambda z: z[:, :1])), "two-class models need two logits"),
    "a model that raises": (
        model(lambda t: Wrapped(fails)),
        "cannot read the records (ValueError: no such): give Task",
    ),
    "another number of features": (model(lambda t: nn.Linear(7, 3)), "the model cannot read the records (RuntimeError"),
    "no fresh start": (model(lambda t: Scaled()), "no module can reset scale (no reset_parameters)"),
    "fine-tuned": (task(fine_tuned=lambda t: True), "the model was fine-tuned, so a fresh start needs"),
    # the method and the call
    "an unknown method": (method("stear"), "there is no method 'stear' (did you mean 'steer'?)"),
    "a method of no known kind": (method(3), "there is no method 3 (known: steer"),
    "an option out of range": (
        lambda t: {"method": efface.methods.Steer(steps=0)},
        "option steps of steer: expected 1 to 10000, got 0",
    ),
    "an option of a wrong type": (
        lambda t: {"method": efface.methods.Steer(steps=2.5)},
        "option steps of steer: expected int, got 2.5",
    ),
    "an option that is NaN": (lambda t: {"method": efface.methods.Steer(lr=NAN)}, "expected 1e-08 to 1.0, got nan"),
    "an unknown option": (
        lambda t: {"method": efface.methods.get("steer", {"stps": "3"})},
        "steer has no option 'stps' (did you mean 'steps'?)",
    ),
    "an option of a method without any": (
        lambda t: {"method": efface.methods.get("noop", {"steps": "3"})},
        "noop has no option 'steps': it has no options",
    ),
    "an unreadable option": (
        lambda t: {"method": efface.methods.get("steer", {"steps": "many"})},
        "option steps of steer: expected int, got 'many'",
    ),
    "a stop rule that is none": (lambda t: {"stop": "never"}, "stop: expected a rule of efface.stopping, got 'never'"),
    "a seed that is no integer": (lambda t: {"seed": 1.5}, "seed: expected an integer, got 1.5"),
    "a recipe that is none": (
        lambda t: {"reference": {"lr": 1}},
        "reference: expected an efface.Recipe, got {'lr': 1}",
    ),
    "a recipe out of range": (lambda t: {"reference": efface.Recipe(batch=0)}, "option batch of Recipe: expected 2 to"),
    "neither task nor records": (lambda t: {"task": None}, "train is missing"),
    "no holdout": (lambda t: {"task": None, "train": data(t.x, t.y)}, "holdout is missing"),
    "task and records": (lambda t: {"train": data(t.x, t.y)}, "train given beside a task: set them on the Task"),
    "a task of another class": (lambda t: {"task": {"train": 1}}, "task: expected an efface.Task, got dict"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal(name: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: Any, **__: Any) -> None:
        raise AssertionError("work began")

    monkeypatch.setattr("efface.unlearning.train", work)
    broken, message = REFUSALS[name]
    before, state = bits(tiny.model), torch.get_rng_state()
    with pytest.raises(RequestError) as caught:
        # some options are refused already here
        request = {"model": tiny.model, "forget": tiny.forget, "task": tiny.task(), **broken(tiny)}
        state = torch.get_rng_state()
        efface.unlearn(**request)
    assert message in str(caught.value)
    assert all("\n" not in line for line in caught.value.problems)
    assert bits(tiny.model) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_every_problem_is_listed_at_once(tiny: Tiny) -> None:
    """Ids, holdout, twins, values and model are wrong in one request: one line each."""
    train = data(put(put(tiny.x, 200, tiny.x[5]), (150, 0), NAN), put(tiny.y, 200, tiny.y[5]))
    task = tiny.task(train=train, holdout=data(tiny.x[:30], tiny.y[:30]), fine_tuned=True)
    with pytest.raises(RequestError) as caught:
        efface.unlearn(tiny.model, forget=(5, 5, 900), task=task)
    starts = (
        "the forget set names 5 more than once",
        "1 forget ids are not in",
        "the holdout has 30 records",
        "the model was fine-tuned",
        "inputs of training records",
        "1 forget records have an exact twin",
        "30 holdout records are also training records",
    )
    for line, start in zip(caught.value.problems, starts, strict=True):
        assert line.startswith(start)
    assert "refused for 7 reasons" in str(caught.value)


def test_a_reference_that_learned_nothing_is_refused(tiny: Tiny) -> None:
    generator = torch.Generator().manual_seed(3)
    y, held = (torch.randint(CLASSES, (n,), generator=generator) for n in (RECORDS, HOLDOUT))
    before = bits(tiny.model)
    with pytest.raises(RequestError, match="no better than chance on the holdout"):
        efface.unlearn(tiny.model, forget=tiny.forget, train=data(tiny.x, y), holdout=data(tiny.holdout_x, held))
    assert bits(tiny.model) == before


def test_what_is_odd_but_possible_is_a_warning(tiny: Tiny) -> None:
    task = tiny.task(holdout_used_for="early stopping")
    result = efface.unlearn(tiny.model, forget=range(20), task=task, method="noop", checks=False)
    assert [line.split(":")[0] for line in result.warnings] == [
        "the forget set is 6.7% of the training records; above 5% is untried",
        "the holdout also served for early stopping",
        "the pass over all records was off",
    ]


def test_augmenting_records_with_their_plain_ones_are_taken(tiny: Tiny) -> None:
    task = tiny.task(train=Augmenting(tiny), eval_records=data(tiny.x, tiny.y))
    assert efface.unlearn(tiny.model, forget=tiny.forget, task=task, method="noop").warnings == ()


def test_what_cannot_reset_itself_may_be_built(tiny: Tiny) -> None:
    task = tiny.task(build_model=Scaled)
    assert efface.unlearn(Scaled(), forget=tiny.forget, task=task, method="noop").forget == tiny.forget
