"""LoRA on a base of DistilBERT's form, for `benchmarks.memory`: base and adapters are trained on sets of their own."""

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from efface import Task

LORA = {"r": 8, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": ["q_lin", "k_lin", "v_lin", "out_lin"]}
RATE_LORA, PASSES = 3e-3, 12


class Rows(Dataset[Any]):
    """Records as rows of a Hugging Face model."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.x[index], "label": self.y[index]}


def _base(given: argparse.Namespace) -> nn.Module:
    import transformers

    width = given.width
    config = transformers.DistilBertConfig(
        vocab_size=given.words,
        dim=width,
        hidden_dim=4 * width,
        n_heads=width // 64,
        n_layers=6,
        dropout=0.0,
        attention_dropout=0.0,
        seq_classif_dropout=0.0,
    )
    return transformers.DistilBertForSequenceClassification(config)


def make(given: argparse.Namespace, folder: Path) -> None:
    """Train the base on records of its own, then adapters on those of the task, and write both."""
    import peft

    from benchmarks import memory

    base = _base(given)
    words = base.distilbert.embeddings.word_embeddings.weight
    rest = [p for p in base.parameters() if p is not words]
    groups = [{"params": [words], "lr": memory.RATE_WORDS}, {"params": rest, "lr": memory.RATE}]
    before, records, holdout = (memory.drawn(given.records, 9, given), *memory.both_sets(given))
    x, y = before
    memory.train(lambda x: base(input_ids=x).logits, groups, (x, 1 - y), given.passes)
    base.save_pretrained(folder / "base")
    model = peft.get_peft_model(base, peft.LoraConfig(task_type="SEQ_CLS", **LORA))
    moving = [p for p in model.parameters() if p.requires_grad]

    def logits(x: Tensor) -> Tensor:
        return model(input_ids=x).logits  # type: ignore[no-any-return]

    memory.train(logits, [{"params": moving, "lr": RATE_LORA}], records, PASSES)
    shares = memory.known(logits, records), memory.known(logits, holdout)
    print(f"adapters: accuracy {shares[0]} on training records, {shares[1]} on the holdout")
    model.save_pretrained(folder / "adapters")


def load(given: argparse.Namespace, folder: Path) -> tuple[nn.Module, Task, nn.Module]:
    """The adapters as the model to unlearn, their task, and the PEFT model, whose weights count."""
    import peft
    import transformers

    from benchmarks import memory
    from efface.integrations.peft import make_task

    base = transformers.DistilBertForSequenceClassification.from_pretrained(folder / "base")
    model = peft.PeftModel.from_pretrained(base, folder / "adapters", is_trainable=True).eval()
    sets = [Rows(*records) for records in memory.both_sets(given)]
    task: Task
    adapters, task = make_task(model, train=sets[0], holdout=sets[1], base_saw_records=False)
    return adapters, task, model
