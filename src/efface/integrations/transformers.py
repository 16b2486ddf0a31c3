"""Hugging Face transformers: a task from a model or a Trainer and its data, and the unlearned model back."""

import copy
import inspect
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from efface.errors import RequestError, kind_of
from efface.integrations import library, new_folder
from efface.integrations.tables import keys
from efface.kinds import Classes, Kind, MultiLabel, Regression, Tokens
from efface.models.running import device_of
from efface.runtime.options import clear_calls
from efface.task import Task
from efface.unlearning.result import Result

# transformers' own lists of classes, with what a record's target is there; None where the model says it
FAMILIES = {
    "CAUSAL_LM": "next",
    "TOKEN_CLASSIFICATION": "each",
    "SEQUENCE_CLASSIFICATION": "one",
    "IMAGE_CLASSIFICATION": "one",
}
TARGETS = ("labels", "label", "label_ids")
IGNORED = -100
Begun = str | Path | Literal[False] | None


@dataclass(frozen=True)
class Reader:
    """How records of a Hugging Face data set become batches, and what its model says of them.

    Args:
        columns: The columns that the model takes.
        collator: Makes a batch of rows, as the Trainer's data collator does.
        processor: The tokenizer or image processor, for rows that hold text or images; it is saved with the model.
        main: The column that the model cannot do without, such as `input_ids`.
        family: `next` for language models, `each` for a class of each token, `one` for a target of each record.
    """

    columns: frozenset[str]
    collator: Callable[[list[Any]], Mapping[str, Tensor]]
    processor: Any = None
    main: str = "input_ids"
    family: str = "one"

    def collate(self, rows: list[Mapping[str, Any]]) -> dict[str, Tensor]:
        """A batch of rows, with the columns that the model takes and the target."""
        # a language model's texts may have a class beside their labels, which is no target of it
        taken = self.columns | set(TARGETS[:1] if self.family == "next" else TARGETS)
        return dict(self.collator([{k: v for k, v in self._encoded(row).items() if k in taken} for row in rows]))

    def unpack(self, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Inputs by name, and targets; of a language model the targets are the next tokens."""
        name = next((name for name in TARGETS if name in batch), None)
        if name is None:
            raise RequestError(f"rows hold no target: name its column one of {', '.join(TARGETS)}")
        inputs = {k: v for k, v in batch.items() if k not in TARGETS}
        targets = batch[name]
        return inputs, targets[:, 1:] if self.family == "next" else targets

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """The logits; of a language model those that say something of a next token."""
        if self.family != "next":
            return model(**inputs).logits  # type: ignore[no-any-return]
        return model(**inputs, use_cache=False).logits[:, :-1]  # type: ignore[no-any-return]

    def _encoded(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.main in row or self.processor is None:
            return row
        if "text" in row:
            return {**row, **self.processor(row["text"], truncation=True)}
        if "image" in row:
            return {**row, self.main: self.processor(row["image"], return_tensors="pt")[self.main][0]}
        return row


@dataclass(frozen=True)
class TrainerFit:
    """A task's `fit` by the arguments of a `transformers.Trainer`, with nothing saved or reported."""

    kind: type[Any]
    args: Any
    parts: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, model: nn.Module, dataset: Any, seed: int) -> None:
        """Train a network in place on other records."""
        device = device_of(model)
        args = copy.copy(self.args)
        with tempfile.TemporaryDirectory() as folder:
            quiet = {"output_dir": folder, "report_to": [], "disable_tqdm": True, "push_to_hub": False}
            quiet |= {"save_strategy": "no", "eval_strategy": "no", "load_best_model_at_end": False}
            # strings, which the comparisons of transformers take as they take its enumerations
            for name, value in {**quiet, "seed": seed, "data_seed": seed, "logging_strategy": "no"}.items():
                setattr(args, name, value)
            self.kind(model=model, args=args, train_dataset=dataset, **self.parts).train()
        model.to(device)


@clear_calls()
def make_task(
    source: Any,
    *,
    train: Any = None,
    holdout: Any = None,
    tokenizer: Any = None,
    collator: Callable[[list[Any]], Any] | None = None,
    pretrained: Begun = None,
    groups: str | None = None,
    **fields: Any,
) -> Task:
    """A task from a transformers model or Trainer, and its data.

    The model classifies sequences, tokens or images, or is a causal language model; it may also predict real values or
    several labels. Rows hold the model's inputs, such as `input_ids`, or a column `text` or `image` that the tokenizer
    or image processor turns into them; and the target in a column `label` or `labels`, which rows of language models
    need not have.

    Args:
        source: The trained model, or the Trainer that trained it. A Trainer also gives `train`, `tokenizer`, `collator`
            and `Task.fit`.
        train: All records that the model was trained on, a `datasets.Dataset` or another map-style data set of rows.
        holdout: Records that the model never saw, in the same form.
        tokenizer: The tokenizer or image processor.
        collator: The data collator; by default one that pads, where there is a tokenizer.
        pretrained: The weights that training began from: a folder or a name that `from_pretrained` takes; False if it
            began from random weights. A model that was loaded by `from_pretrained` needs one of them.
        groups: The column of all data sets that holds the person, or other group, of each record.
        fields: Other fields of the task, such as `test` or `batch_size`. The name of a column as `ids` gives the ids.

    Raises:
        RequestError: transformers is missing, or the model is of a kind that efface does not take.
    """
    lib = library("transformers", "transformers")
    given = of_trainer(source) if isinstance(source, lib.Trainer) else {"model": source}
    model = given["model"]
    if not isinstance(model, lib.PreTrainedModel):
        more = ": use efface.integrations.peft.make_task" if hasattr(model, "peft_config") else ""
        raise RequestError(f"expected a transformers model or a Trainer, got {kind_of(model)}{more}")
    train = given.get("train") if train is None else train
    reader = _reader(model, tokenizer or given.get("tokenizer"), collator or given.get("collator"))
    made: dict[str, Any] = {
        "train": train,
        "holdout": holdout,
        "kind": _kind(model, reader, train),
        "unpack": reader.unpack,
        "forward": reader.forward,
        "collate": reader.collate,
        "build_model": _beginning(model, pretrained),
        "fit": given.get("fit"),
        "fine_tuned": bool(pretrained),
        "batch_size": 64,
    }
    made |= _by_column(fields, train, holdout, groups)
    return Task(**{**made, **fields})


def of_trainer(trainer: Any) -> dict[str, Any]:
    """What a Trainer holds, by the names of `make_task`: `model`, `train`, `tokenizer`, `collator` and `fit`."""
    parts = {name: getattr(trainer, name, None) for name in ("data_collator", "processing_class", "compute_loss_func")}
    return {
        "model": trainer.model,
        "train": trainer.train_dataset,
        "tokenizer": trainer.processing_class,
        "collator": trainer.data_collator,
        "fit": TrainerFit(type(trainer), trainer.args, parts),
    }


@clear_calls()
def save(result: Result, folder: str | Path) -> None:
    """Write the unlearned model, with its tokenizer or image processor, as `save_pretrained` does.

    Args:
        result: The result of `efface.unlearn` on a task of this module.
        folder: A new folder; it appears as a whole or not at all.

    Raises:
        RequestError: The model is none of transformers', or the folder cannot be written.
    """
    lib = library("transformers", "transformers")
    if not isinstance(result.model, lib.PreTrainedModel):
        raise RequestError(f"expected the result for a transformers model, got one for a {kind_of(result.model)}")
    reader = getattr(result.task.collate, "__self__", None)
    with new_folder(folder) as temporary:
        result.model.save_pretrained(temporary)
        if isinstance(reader, Reader) and reader.processor is not None:
            reader.processor.save_pretrained(temporary)


def family_of(model: nn.Module) -> str | None:
    """What a record's target is for a transformers model, a value of FAMILIES; None if efface does not take it."""
    lists = library("transformers.models.auto.modeling_auto", "transformers")
    for family, what in FAMILIES.items():
        names: list[str] = []
        for value in getattr(lists, f"MODEL_FOR_{family}_MAPPING_NAMES").values():
            names += [value] if isinstance(value, str) else value
        if type(model).__name__ in names:
            return what
    return None


def _reader(model: Any, processor: Any, collator: Any) -> Reader:
    lib = library("transformers", "transformers")
    family = family_of(model)
    if family is None:
        raise RequestError(
            f"{type(model).__name__} is out of scope: efface takes models that classify sequences, tokens or images, "
            "models of real values, and causal language models"
        )
    columns = inspect.signature(model.forward).parameters
    if collator is None:
        is_tokenizer = isinstance(processor, lib.PreTrainedTokenizerBase)
        if family == "next":
            if not is_tokenizer:
                raise RequestError("a language model needs its tokenizer, which pads: give tokenizer=")
            collator = Sequences(lib.DataCollatorForSeq2Seq(processor, label_pad_token_id=IGNORED))
        elif family == "each" and is_tokenizer:
            collator = lib.DataCollatorForTokenClassification(processor, label_pad_token_id=IGNORED)
        else:
            collator = lib.DataCollatorWithPadding(processor) if is_tokenizer else lib.default_data_collator
    return Reader(frozenset(columns) - set(TARGETS), collator, processor, model.main_input_name, family)


@dataclass(frozen=True)
class Sequences:
    """A collator of rows of a language model: the tokens of a row without labels are its labels."""

    collator: Callable[[list[Any]], Mapping[str, Tensor]]

    def __call__(self, rows: list[Mapping[str, Any]]) -> Mapping[str, Tensor]:
        """A padded batch, in which padding has the label that counts for nothing."""
        return self.collator([{"labels": list(row["input_ids"]), **row} for row in rows])


def _kind(model: Any, reader: Reader, train: Any) -> Kind:
    """The kind, as the model's own loss is chosen: by `problem_type`, else by the number and type of its labels."""
    if reader.family != "one":
        return Tokens()
    stated = getattr(model.config, "problem_type", None)
    if stated is None and model.config.num_labels == 1:
        stated = "regression"
    if stated is None and train is not None and len(train):
        _, targets = reader.unpack(reader.collate([train[0]]))
        stated = "multi_label_classification" if targets.is_floating_point() else None
    kinds = {"regression": Regression(), "multi_label_classification": MultiLabel()}
    return kinds.get(stated or "", Classes())


def _beginning(model: Any, pretrained: Begun) -> Callable[[], nn.Module]:
    """A function that makes the network as it was before training."""
    config, kind, dtype = model.config, type(model), model.dtype
    if pretrained:
        return lambda: kind.from_pretrained(str(pretrained), config=copy.deepcopy(config)).to(dtype)
    loaded = getattr(config, "_name_or_path", "")
    if pretrained is None and loaded:
        raise RequestError(
            f"the model was loaded from {loaded!r}, so what its training began from must be stated: "
            "pretrained='NAME OR FOLDER' for weights that it was fine-tuned from, pretrained=False for random weights"
        )
    return lambda: kind(copy.deepcopy(config)).to(dtype)


def _by_column(fields: dict[str, Any], train: Any, holdout: Any, groups: str | None) -> dict[str, Any]:
    """Ids and groups by the names of columns; `ids` leaves the other fields where it is such a name."""
    found: dict[str, Any] = {}
    ids = fields.get("ids")
    if isinstance(ids, str) and ids in (getattr(train, "column_names", None) or ()):
        found["ids"] = keys(train, fields.pop("ids"), "train")
    if groups is not None:
        found["groups"] = keys(train, groups, "train")
        found["holdout_groups"] = keys(holdout, groups, "holdout")
        if fields.get("test") is not None:
            found["test_groups"] = keys(fields["test"], groups, "test")
    return found
