"""PEFT: only adapters move, copies share the base, and PEFT loads what comes back."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from peft import LoraConfig, PeftModel, get_peft_model

import efface
from efface.integrations.peft import Adapters, make_task, save
from efface.models.checkpoint import weights_digest
from efface.models.init import fresh_model
from efface.models.running import copy_model
from extras.pages import code_lines, run_page
from extras.runs import forgot, margins, same_outputs, unlearn
from extras.texts import HOLDOUT, RECORDS, arguments, bert_config, encoded, texts, tokenizer, trained

TOKENIZER = tokenizer()
TRAIN, UNSEEN = encoded(texts(RECORDS, 0), TOKENIZER), encoded(texts(HOLDOUT, 1), TOKENIZER)


def lora() -> LoraConfig:
    targets = ["query", "value", "key", "dense"]
    return LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=32, target_modules=targets, lora_dropout=0.0)


@pytest.fixture(scope="module")
def base() -> hf.BertForSequenceClassification:
    hf.set_seed(0)
    return hf.BertForSequenceClassification(bert_config())


@pytest.fixture(scope="module")
def trainer(base: Any, tmp_path_factory: pytest.TempPathFactory) -> hf.Trainer:
    hf.set_seed(0)
    return trained(get_peft_model(copy.deepcopy(base), lora()), TRAIN, tmp_path_factory.mktemp("out"), TOKENIZER)


@pytest.fixture(scope="module")
def result(trainer: hf.Trainer) -> efface.Result:
    adapters, task = make_task(trainer, holdout=UNSEEN, base_saw_records=False)
    return unlearn(adapters, task)


def test_only_adapters_move_and_peft_loads_them(
    result: efface.Result, trainer: hf.Trainer, base: Any, tmp_path: Path
) -> None:
    before = weights_digest(trainer.model)
    forgot(result)
    assert set(result.model.names) == {n for n, p in trainer.model.named_parameters() if p.requires_grad}
    save(result, tmp_path / "new")
    assert weights_digest(trainer.model) == before
    loaded = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "new")
    inputs, _ = result.task.unpack(result.task.collate([TRAIN[i] for i in range(20)]))
    with torch.no_grad():
        new, own = loaded.eval()(**inputs).logits, result.model.eval()(**inputs).logits
    assert torch.allclose(new, own, atol=1e-5)
    assert not any("query.weight" in name for name in result.model.state_dict())
    size = sum(f.stat().st_size for f in (tmp_path / "new").glob("*.safetensors"))
    assert size < 4 * sum(p.numel() for p in trainer.model.parameters())


def test_the_wrapped_model_says_what_the_peft_model_says(result: efface.Result, trainer: hf.Trainer) -> None:
    same_outputs(result.original, trainer.model, result.task)


def test_all_copies_share_the_base(result: efface.Result, trainer: hf.Trainer) -> None:
    assert copy_model(result.model).base is result.model.base is result.original.base
    fresh = fresh_model(result.task, result.model, seed=5)
    frozen = dict(trainer.model.named_parameters())
    base = {n: p for n, p in fresh.base.model.named_parameters() if not p.requires_grad}
    own = {n for n, p in base.items() if p.data_ptr() != frozen[n].data_ptr()}
    assert len(base) > 10 and all(".original_module." in n for n in own), "the small head alone is copied"


def test_fresh_adapters_hold_nothing_of_the_trained_ones(result: efface.Result, base: Any) -> None:
    fresh = fresh_model(result.task, result.model, seed=5)
    weights = dict(zip(fresh.names, fresh.weights, strict=True))
    assert all(bool((w == 0).all()) for n, w in weights.items() if "lora_B" in n)
    (head,) = (w for n, w in weights.items() if n.endswith("classifier.modules_to_save.default.weight"))
    assert torch.equal(head, base.classifier.weight)


def test_the_fit_trains_adapters_by_the_trainers_arguments(result: efface.Result) -> None:
    fresh = fresh_model(result.task, result.model, seed=5)
    before = margins(fresh, result.task, list(range(60, 120))).mean()
    result.task.fit(fresh, torch.utils.data.Subset(TRAIN, range(60, RECORDS)), 5)
    assert margins(fresh, result.task, list(range(60, 120))).mean() > before + 1


def test_the_page_runs_in_five_lines(
    trainer: hf.Trainer, base: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_page("peft", {"trainer": trainer, "holdout_set": UNSEEN, "base": copy.deepcopy(base)})
    assert isinstance(names["result"].model, Adapters) and isinstance(names["model"], PeftModel)
    assert len(code_lines("peft")) <= 5


def test_a_base_that_saw_the_records_is_refused_by_word_and_by_what_it_shows(
    trainer: hf.Trainer, tmp_path: Path
) -> None:
    with pytest.raises(efface.RequestError, match="the base was trained on the records: adapters can hide"):
        make_task(trainer, holdout=UNSEEN, base_saw_records=True)
    hf.set_seed(1)
    known = hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=64, n_embd=64, n_layer=1, n_head=2, n_positions=32))
    data = TRAIN.remove_columns("label")
    collator = hf.DataCollatorForLanguageModeling(TOKENIZER, mlm=False)
    hf.Trainer(known, arguments(tmp_path, epochs=40), train_dataset=data, data_collator=collator).train()
    model = get_peft_model(known, LoraConfig(task_type="CAUSAL_LM", target_modules=["c_attn"], fan_in_fan_out=True))
    with pytest.raises(efface.RequestError, match="knows training records better than holdout records"):
        make_task(model, train=data, holdout=UNSEEN, tokenizer=TOKENIZER, base_saw_records=False)


def test_frozen_adapters_and_other_models_are_refused(result: efface.Result, base: Any, tmp_path: Path) -> None:
    save(result, tmp_path / "new")
    frozen = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "new")
    given: Any = {"train": TRAIN, "holdout": UNSEEN, "tokenizer": TOKENIZER, "base_saw_records": False}
    with pytest.raises(efface.RequestError, match="is_trainable=True"):
        make_task(frozen, **given)
    with pytest.raises(efface.RequestError, match="expected a PEFT model"):
        make_task(base, **given)
