"""Every kind of transformers model from its Trainer to a folder that its own class loads, with an audit between."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from datasets import Dataset

import efface
from efface.integrations.transformers import make_task, save
from efface.kinds import MultiLabel, Regression, Tokens
from extras.runs import forgot, moved, same_outputs, unlearn
from extras.texts import HOLDOUT, RECORDS, WORDS, arguments, bert_config, encoded, texts, tokenizer

TOKENIZER = tokenizer()
OWN = [set(WORDS[:10]), set(WORDS[10:20]), set(WORDS[20:30])]


def labelled(n: int, seed: int, name: str) -> Dataset:
    """Texts with targets of another form, of which a share can only be remembered."""
    draw, plain = random.Random(seed), texts(n, seed)
    holds = [[sum(word in own for word in text.split()) for own in OWN] for text in plain["text"]]
    if name == "values":
        labels: list[Any] = [0.5 * (row[0] - row[1]) + draw.gauss(0, 1) for row in holds]
    elif name == "several labels":
        wanted = [(row[0] > 0, row[1] > 0, row[0] == 0) for row in holds]
        labels = [[float(value != (draw.random() < 0.2)) for value in row] for row in wanted]
    else:
        each = [[next((k for k, own in enumerate(OWN) if w in own), 0) for w in text.split()] for text in plain["text"]]
        labels = [[k if draw.random() > 0.2 else draw.randrange(3) for k in row] for row in each]
    column = "labels" if name == "tags" else "label"
    return encoded(plain.remove_columns("label").add_column(column, labels), TOKENIZER)


def sets(name: str) -> tuple[Dataset, Dataset]:
    if name == "next words":
        return tuple(encoded(texts(n, s).remove_columns("label"), TOKENIZER) for n, s in ((RECORDS, 0), (HOLDOUT, 1)))
    return labelled(RECORDS, 0, name), labelled(HOLDOUT, 1, name)


GPT2 = hf.GPT2Config(
    vocab_size=64, n_embd=32, n_layer=1, n_head=2, n_positions=32, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
)
# the model, what loads it, the collator of its Trainer, and the kind
CASES: dict[str, tuple[Any, Any, Any, Any]] = {
    "values": (
        lambda: hf.BertForSequenceClassification(bert_config(num_labels=1)),
        hf.AutoModelForSequenceClassification,
        None,
        Regression(),
    ),
    "several labels": (
        lambda: hf.BertForSequenceClassification(bert_config(num_labels=3)),
        hf.AutoModelForSequenceClassification,
        None,
        MultiLabel(),
    ),
    "tags": (
        lambda: hf.BertForTokenClassification(bert_config(num_labels=3)),
        hf.AutoModelForTokenClassification,
        hf.DataCollatorForTokenClassification(TOKENIZER),
        Tokens(),
    ),
    "next words": (
        lambda: hf.GPT2LMHeadModel(GPT2),
        hf.AutoModelForCausalLM,
        hf.DataCollatorForLanguageModeling(TOKENIZER, mlm=False),
        Tokens(),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_trainer_trained_is_unlearned_audited_and_loaded_again(name: str, tmp_path: Path) -> None:
    build, loader, collator, kind = CASES[name]
    hf.set_seed(0)
    train, unseen = sets(name)
    trainer = hf.Trainer(
        model=build(),
        args=arguments(tmp_path / "out", epochs=20),
        train_dataset=train,
        data_collator=collator,
        processing_class=TOKENIZER,
    )
    trainer.train()
    task = make_task(trainer, holdout=unseen)
    assert task.kind == kind
    result = unlearn(trainer.model, task)
    forgot(result)
    assert moved(result.original, trainer.model) == set()
    report = efface.audit(result, level="quick")
    assert report.metrics and report.verdict.status in {"verified", "not_verified", "undecided"}
    save(result, tmp_path / "new")
    loaded = loader.from_pretrained(tmp_path / "new").eval()
    assert type(loaded) is type(trainer.model)
    same_outputs(loaded, result.model, task)
    inputs = hf.AutoTokenizer.from_pretrained(tmp_path / "new")("w1 w12 w25", return_tensors="pt")
    with torch.no_grad():
        assert torch.allclose(loaded(**inputs).logits, result.model.eval()(**inputs).logits, atol=1e-5)
