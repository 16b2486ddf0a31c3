"""Every request that `efface.unlearn` refuses: before any work, with every reason, and the model as it was."""

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset, default_collate

import efface
from efface import RequestError
from efface.types import RecordId
from helpers.refused import (
    NAN,
    Augmenting,
    Break,
    Mapped,
    Scaled,
    Streaming,
    Unreadable,
    check_refused,
    data,
    fails,
    forget,
    method,
    put,
    task,
)
from helpers.tiny import CLASSES, FEATURES, HOLDOUT, RECORDS, Tiny, bits, memorise


def names(number: int) -> list[RecordId]:
    return [f"r{i}" for i in range(number)]


def two_classes(tiny: Tiny, rare: int = 10) -> TensorDataset:
    """Training records of class 0, but for the first ones, of class 2."""
    y = torch.zeros_like(tiny.y)
    y[:rare] = 2
    return data(tiny.x, y)


def doubled(tiny: Tiny) -> TensorDataset:
    """Records 5 and 10 have a twin each, the latter under another label."""
    x, y = put(put(tiny.x, 200, tiny.x[5]), 201, tiny.x[10]), put(tiny.y, 200, tiny.y[5])
    return data(x, put(y, 201, (tiny.y[10] + 1) % CLASSES))


def turned_within_classes(tiny: Tiny) -> torch.Tensor:
    """The records of each class in the opposite order."""
    x = tiny.x.clone()
    for label in range(CLASSES):
        x[tiny.y == label] = tiny.x[tiny.y == label].flip(0)
    return x


REFUSALS: dict[str, tuple[Break, str]] = {
    # the forget set
    "unknown ids": (forget((1, 900, 901, 902, 903)), "4 forget ids are not in the training records (indices 0 to 299)"),
    "unknown ids are named": (forget((1, 900, 901, 902, 903)), "900, 901, 902 and 1 more"),
    "a negative id": (forget((-1,)), "1 forget id is not in the training records"),
    "an unknown name": (
        lambda tiny: {"task": tiny.task(ids=names(RECORDS)), "forget": ["r1", "r900"]},
        "(the ids given): 'r900'",
    ),
    "an index where there are names": (task(ids=lambda tiny: names(RECORDS)), "12 forget ids are not in"),
    "duplicate ids": (forget((1, 2, 1, 2, 3)), "the forget set names 1, 2 more than once (2 ids)"),
    "nothing to forget": (forget(()), "the forget set is empty"),
    "everything": (forget(tuple(range(RECORDS))), "holds every training record"),
    "too large a share": (forget(tuple(range(90))), "is 30% of the training records; requests above 20%"),
    "all classes but one": (
        lambda tiny: {"task": tiny.task(train=two_classes(tiny)), "forget": range(10)},
        "the request leaves records of one class alone",
    ),
    "all classes but one, without the pass over all": (
        lambda tiny: {"task": tiny.task(train=two_classes(tiny)), "forget": range(10), "checks": False},
        "the request leaves records of one class alone",
    ),
    "one name as text": (forget("r12"), "forget: expected a sequence of record ids, got str"),
    "one index": (forget(12), "expected a sequence of record ids, got int"),
    "ids of another kind": (forget([[1, 2]]), "record ids are integers or strings, got [1, 2]"),
    "a generator": (forget(i for i in (1, 2)), "forget: expected a sequence of record ids, got generator"),
    "a mapping": (forget({1: "a"}), "forget: expected a sequence of record ids, got dict"),
    "an array of no dimension": (forget(np.array(3)), "one-dimensional sequence of record ids, got a 0-D ndarray"),
    "a tensor of no dimension": (forget(torch.tensor(3)), "one-dimensional sequence of record ids, got a 0-D Tensor"),
    "an array of two dimensions": (forget(np.ones((2, 1), int)), "sequence of record ids, got a 2-D ndarray"),
    "a mask": (forget(torch.arange(RECORDS) < 9), "forget: a boolean mask: give ids, e.g. mask.nonzero()"),
    "a mask in NumPy": (forget(np.arange(RECORDS) < 9), "forget: a boolean mask: give ids, e.g. mask.nonzero()"),
    "a mask as a list": (forget([True, False]), "forget: a boolean mask: give ids, e.g. mask.nonzero()"),
    "float ids": (forget(torch.tensor([1.0, 2.0])), "forget: record ids are integers or strings, got 1.0, 2.0"),
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
    "ids without an order": (
        lambda tiny: {"task": tiny.task(ids=set(names(RECORDS))), "forget": ["r3"]},
        "ids: a set has no order: give a list in the order of the records",
    ),
    "ids that run out": (
        lambda tiny: {"task": tiny.task(ids=(n for n in names(RECORDS))), "forget": ["r3"]},
        "ids: expected a sequence of record ids, got generator: give a list",
    ),
    "ids that are lists": (
        lambda tiny: {"task": tiny.task(ids=[[n] for n in names(RECORDS)]), "forget": ["r3"]},
        "ids: record ids are integers or strings, got ['r0'], ['r1'], ['r2'] and 297 more",
    ),
    "ids not unique": (
        lambda tiny: {"task": tiny.task(ids=["r7", *names(RECORDS)[1:]]), "forget": ["r3"]},
        "ids name more than one training record: 'r7'",
    ),
    # records
    "a twin stays": (
        task(train=lambda t: data(put(t.x, 200, t.x[5]), put(t.y, 200, t.y[5]))),
        "1 forget record has an exact twin that stays in training, which defeats forgetting: 5 (twin of 200)",
    ),
    "a twin by name": (
        lambda t: {
            "task": t.task(train=data(put(t.x, 200, t.x[5]), put(t.y, 200, t.y[5])), ids=names(RECORDS)),
            "forget": ["r5"],
        },
        "'r5' (twin of 'r200')",
    ),
    "too many holdout records in training": (
        task(holdout=lambda t: data(torch.cat([t.holdout_x[:20], t.x[77:159]]), t.holdout_y[:102])),
        "82 holdout records are also training records (equal inputs), the first at holdout position 20: without",
    ),
    "the holdout is the training set": (
        lambda t: {"task": t.task(holdout=(both := data(t.x, t.y)), train=both), "checks": False},
        "holdout is the same data set as train: the records of one must not be in the other",
    ),
    "the test set is the training set": (
        lambda t: {"task": t.task(test=(both := data(t.x, t.y)), train=both)},
        "test is the same data set as train: the records of one must not be in the other",
    ),
    "the test set is the holdout": (
        lambda t: {"task": t.task(test=(both := data(t.holdout_x, t.holdout_y)), holdout=both), "checks": False},
        "test is the same data set as holdout: the records of one must not be in the other",
    ),
    "a holdout of another dtype": (
        task(holdout=lambda t: data(t.holdout_x.double(), t.holdout_y)),
        "holdout records have other inputs than training records: input is float64 of shape (16,) where that of "
        "training records is float32 of shape (16,)",
    ),
    "a holdout of another shape": (
        task(holdout=lambda t: data(t.holdout_x[:, :8], t.holdout_y)),
        "holdout records have other inputs than training records: input is float32 of shape (8,)",
    ),
    "a test set with other keys": (
        task(
            train=lambda t: Mapped(t.x, t.y),
            holdout=lambda t: Mapped(t.holdout_x, t.holdout_y),
            test=lambda t: [({"image": x}, 0) for x in t.holdout_x + 1],
            forward=lambda t: lambda model, inputs: model(inputs["x"]),
        ),
        "test records have other inputs than training records: input['x'] is missing where",
    ),
    "a holdout that augments": (
        task(holdout=Augmenting),
        "holdout records differ when read twice, so the dataset augments at random: give it without augmentation",
    ),
    "a test set that augments": (
        task(test=Augmenting),
        "test records differ when read twice, so the dataset augments at random: give it without augmentation",
    ),
    "eval_records that augment": (
        task(eval_records=Augmenting),
        "eval_records differ when read twice, so they augment at random",
    ),
    "eval_records in another order": (
        task(eval_records=lambda t: data(t.x.flip(0), t.y.flip(0))),
        "eval_records and train have different labels at",
    ),
    "eval_records in another order, without the pass over all": (
        lambda t: {"task": t.task(eval_records=data(t.x.flip(0), t.y.flip(0))), "checks": False},
        "eval_records must hold the records of train in the same order",
    ),
    "eval_records with one other label": (
        task(eval_records=lambda t: data(t.x, put(t.y, 250, (t.y[250] + 1) % CLASSES))),
        "eval_records and train have different labels at 1 of 300 places compared (250)",
    ),
    "eval_records of a forget record with another label, in a data set of objects": (
        lambda t: {
            "task": t.task(
                train=list(zip(t.x.repeat(20, 1), t.y.repeat(20).tolist(), strict=True)),
                eval_records=list(zip(t.x.repeat(20, 1), put(t.y.repeat(20), 5, 3 - t.y[5]).tolist(), strict=True)),
            ),
            "checks": False,
        },
        "eval_records and train have different labels at 1 of",
    ),
    "eval_records in another order within a class": (
        task(
            train=lambda t: list(zip(t.x, t.y, strict=True)), eval_records=lambda t: data(turned_within_classes(t), t.y)
        ),
        "eval_records hold the inputs of train at other places",
    ),
    "inputs that cannot be compared": (
        task(
            train=lambda t: list(zip(t.x, t.y, strict=True)),
            collate=lambda t: lambda rows: ({"x": default_collate(rows)[0], "on": object()}, default_collate(rows)[1]),
            forward=lambda t: lambda model, inputs: model(inputs["x"]),
        ),
        "the inputs of training records hold a object, which cannot be compared by content",
    ),
    "a record that cannot be read": (
        lambda t: {"task": t.task(train=Unreadable(t, 123), ids=names(RECORDS)), "forget": ["r5"]},
        "record 123 (id 'r123') of train cannot be read (OSError: no such file)",
    ),
    "a holdout record that cannot be read, without the pass over all": (
        lambda t: {"task": t.task(holdout=Unreadable(t, 123)), "checks": False},
        "record 123 of holdout cannot be read (OSError: no such file)",
    ),
    "records that make no batch": (
        task(train=lambda t: [(x[: 15 if i == 123 else 16], 0) for i, x in enumerate(t.x)]),
        "of train can be read alone but not as one batch (RuntimeError: stack expects each tensor to be equal size",
    ),
    "fewer targets than records": (
        task(unpack=lambda t: lambda batch: (batch[0], batch[1].squeeze()[:1])),
        "training records cannot be read (ValueError: targets of shape (1,) for a batch of 2)",
    ),
    "a target of no dimension": (
        task(unpack=lambda t: lambda batch: (batch[0], batch[1].squeeze())),
        "can be read two at a time but not one alone (ValueError: targets of shape () for a batch of 1)",
    ),
    "a choice about twins that is none": (
        lambda t: {"twins": "drop"},
        "twins: expected one of refuse, forget, keep, got 'drop'",
    ),
    "twins kept without a look for them": (
        lambda t: {"twins": "keep", "checks": False},
        "twins: 'keep' needs the pass over all records",
    ),
    "twins confirmed that are not to be forgotten": (
        lambda t: {"twins": "keep", "confirmed": [3]},
        "confirmed: it names twins to forget, which twins='keep' does not",
    ),
    "twins that are not confirmed": (
        lambda t: {"task": t.task(train=doubled(t)), "twins": "forget"},
        "2 twins of forget records (equal inputs) are not confirmed: 200, 201",
    ),
    "another twin than confirmed": (
        lambda t: {"task": t.task(train=doubled(t)), "twins": "forget", "confirmed": [200, 201, 7, 8]},
        "2 confirmed ids are no twins of a forget record: 7, 8",
    ),
    "every forget record kept": (
        lambda t: {"task": t.task(train=doubled(t)), "forget": [10, 5], "twins": "keep"},
        "every forget record has a twin (equal inputs) that stays in training and is kept, so nothing",
    ),
    "a twin with another label": (
        lambda t: {"task": t.task(train=doubled(t))},
        "2 forget records have an exact twin that stays in training, which defeats forgetting: 5 (twin of 200), "
        "10 (twin of 201 with another label)",
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
        "targets of training records: expected one integer class a record, got float32 of shape (300,)",
    ),
    "float targets that are whole": (
        task(train=lambda t: data(t.x, t.y.float())),
        "of shape (300,): if they are classes, make them so by .long() in Task.unpack",
    ),
    "targets to regress on": (
        task(train=lambda t: data(t.x, t.y + 0.5)),
        "of shape (300,): a model of real values gives one value a record",
    ),
    "one-hot targets": (
        task(train=lambda t: data(t.x, torch.nn.functional.one_hot(t.y, CLASSES))),
        "of shape (300, 3): they look one-hot: give .argmax(1) in Task.unpack; if they are of another kind, state it: "
        'Task.kind="multilabel" (several labels, each there or not) or Task.kind="regression" (one or more real',
    ),
    "a column of targets": (
        task(train=lambda t: data(t.x, t.y[:, None])),
        "of shape (300, 1): if they are classes, take their one column, [:, 0].long(), in Task.unpack",
    ),
    "records that are mappings": (
        task(train=lambda t: [{"x": x, "y": y} for x, y in zip(t.x, t.y, strict=True)]),
        "a batch is a mapping with 'x', 'y', not a pair of inputs and targets: say which is which",
    ),
    "keys of groups without saying so": (
        lambda t: {"task": t.task(groups=[f"p{i // 3}" for i in range(RECORDS)]), "forget": ["p7", "p8"]},
        "'p7', 'p8' are keys of Task.groups: give efface.ByGroup([...]), or --groups",
    ),
    "two targets a record": (
        task(train=lambda t: data(t.x, torch.stack([t.y, t.y], 1))),
        "expected one integer class a record, got int64 of shape (300, 2)",
    ),
    "a twin among mappings that are no dicts": (
        task(
            train=lambda t: Mapped(put(t.x, 200, t.x[5]), put(t.y, 200, t.y[5])),
            holdout=lambda t: Mapped(t.holdout_x, t.holdout_y),
            forward=lambda t: lambda model, inputs: model(inputs["x"]),
        ),
        "1 forget record has an exact twin that stays in training, which defeats forgetting: 5 (twin of 200)",
    ),
    "a twin among texts": (
        task(
            train=lambda t: [(str(i % 200), 0) for i in range(RECORDS)],
            holdout=lambda t: [(str(-i - 1), 0) for i in range(HOLDOUT)],
            forward=lambda t: lambda model, texts: model(torch.ones(len(texts), FEATURES)),
        ),
        "12 forget records have an exact twin that stays in training, which defeats forgetting: 5 (twin of 205)",
    ),
    "a collate that cannot take one record": (
        task(collate=lambda t: lambda rows: default_collate(rows) if len(rows) > 1 else fails(rows)),
        "training records can be read two at a time but not one alone (ValueError: no such thing)",
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
    # the method and the call
    "an unknown method": (method("stear"), "there is no method 'stear' (did you mean 'steer'?)"),
    "a method of no known kind": (method(3), "method: expected a method or its key, such as 'steer' or"),
    "an option out of range": (
        lambda t: {"method": efface.methods.Steer(steps=0)},
        "option steps of steer: expected 1 to 10000, got 0",
    ),
    "an option of a wrong type": (
        lambda t: {"method": efface.methods.Steer(steps=2.5)},
        "option steps of steer: expected int, got 2.5",
    ),
    "an option that is NaN": (
        lambda t: {"method": efface.methods.Steer(travel=NAN)},
        "expected 0.001 to 1000.0, got nan",
    ),
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
    "a stop rule that is none": (
        lambda t: {"stop": "never"},
        "stop: expected a stop rule such as efface.LooksUnseen(), got 'never'",
    ),
    "a seed that is no integer": (lambda t: {"seed": 1.5}, "seed: expected an integer, got 1.5"),
    "a recipe that is none": (
        lambda t: {"reference": {"lr": 1}},
        "reference: expected an efface.Recipe, got {'lr': 1}",
    ),
    "a recipe out of range": (lambda t: {"reference": efface.Recipe(batch=0)}, "option batch of Recipe: expected 2 to"),
    "neither task nor records": (lambda t: {"task": None}, "train is missing"),
    "a task without a holdout": (
        task(holdout=lambda t: None),
        "holdout is missing: give holdout=, or a task= that holds it",
    ),
    "a task without training records": (task(train=lambda t: None), "train is missing: give train=, or a task="),
    "no holdout": (lambda t: {"task": None, "train": data(t.x, t.y)}, "holdout is missing"),
    "task and records": (lambda t: {"train": data(t.x, t.y)}, "train given beside a task: set them on the Task"),
    "a task of another class": (lambda t: {"task": {"train": 1}}, "task: expected an efface.Task, got dict"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal(name: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    check_refused(*REFUSALS[name], tiny, monkeypatch)


def test_every_problem_is_listed_at_once(tiny: Tiny) -> None:
    """Ids, holdout, twins, values and model are wrong in one request: one line each."""
    train = data(put(put(tiny.x, 200, tiny.x[5]), (150, 0), NAN), put(tiny.y, 200, tiny.y[5]))
    task = tiny.task(train=train, holdout=data(tiny.x[:30], tiny.y[:30]), fine_tuned=True)
    with pytest.raises(RequestError) as caught:
        efface.unlearn(tiny.model, forget=(5, 5, 900), task=task)
    starts = (
        "the forget set names 5 more than once",
        "1 forget id is not in",
        "the holdout has 30 records",
        "the model was fine-tuned",
        "inputs of training records",
        "1 forget record has an exact twin",
        "30 holdout records are also training records",
    )
    for line, start in zip(caught.value.problems, starts, strict=True):
        assert line.startswith(start)
    assert "refused for 7 reasons" in str(caught.value)


def test_a_reference_that_learned_nothing_is_refused(tiny: Tiny) -> None:
    generator = torch.Generator().manual_seed(3)
    y, held = (torch.randint(CLASSES, (n,), generator=generator) for n in (RECORDS, HOLDOUT))
    before = bits(tiny.model)
    task = tiny.task(train=data(tiny.x, y), holdout=data(tiny.holdout_x, held))
    with pytest.raises(RequestError, match="no better than chance on the holdout"):
        efface.unlearn(tiny.model, forget=tiny.forget, task=task, options=efface.UnlearnOptions(checks=False))
    assert bits(tiny.model) == before


def test_what_is_odd_but_possible_is_a_warning(tiny: Tiny) -> None:
    task = tiny.task(holdout_used_for="early stopping")
    result = efface.unlearn(
        tiny.model, forget=range(20), task=task, method="noop", options=efface.UnlearnOptions(checks=False)
    )
    assert [line.split(":")[0] for line in result.warnings] == [
        "the forget set is 6.7% of the training records; above 5% moves retain records noticeably too",
        "the holdout also served for early stopping",
        "the pass over all records was off",
    ]


def test_augmenting_records_are_taken_with_those_that_do_not(tiny: Tiny) -> None:
    task = tiny.task(train=Augmenting(tiny), eval_records=data(tiny.x, tiny.y))
    assert efface.unlearn(tiny.model, forget=tiny.forget, task=task, method="noop").warnings == ()


def test_what_cannot_reset_itself_may_be_built(tiny: Tiny) -> None:
    task = tiny.task(build_model=Scaled)
    model = memorise(Scaled(), tiny.x, tiny.y)
    assert efface.unlearn(model, forget=tiny.forget, task=task, method="noop").forget == tiny.forget
