"""Hugging Face transformers: models and Trainers as tasks, and folders that `from_pretrained` loads."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from datasets import Dataset

import efface
from efface.integrations.transformers import make_task, save
from efface.kinds import Classes, MultiLabel, Regression, Tokens
from efface.models.init import fresh_model
from extras.pages import code_lines, run_page
from extras.runs import FORGET, forgot, margins, moved, same_outputs, unlearn
from extras.texts import HOLDOUT, RECORDS, bert_config, encoded, texts, tokenizer, trained

TOKENIZER = tokenizer()
TRAIN, UNSEEN = encoded(texts(RECORDS, 0), TOKENIZER), encoded(texts(HOLDOUT, 1), TOKENIZER)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> hf.Trainer:
    hf.set_seed(0)
    model = hf.BertForSequenceClassification(bert_config())
    return trained(model, TRAIN, tmp_path_factory.mktemp("out"), TOKENIZER)


@pytest.fixture(scope="module")
def result(trainer: hf.Trainer) -> efface.Result:
    return unlearn(trainer.model, make_task(trainer, holdout=UNSEEN, ids="id"), forget=[TRAIN["id"][i] for i in FORGET])


def test_a_trainer_is_unlearned_and_saved_back(result: efface.Result, trainer: hf.Trainer, tmp_path: Path) -> None:
    forgot(result)
    assert moved(trainer.model, result.original) == set()
    save(result, tmp_path / "new")
    loaded = hf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "new")
    same_outputs(loaded, result.model, result.task)
    again = hf.AutoTokenizer.from_pretrained(tmp_path / "new")
    assert again("w1 w2")["input_ids"] == TOKENIZER("w1 w2")["input_ids"]
    with pytest.raises(efface.RequestError, match="holds files already"):
        save(result, tmp_path / "new")


def test_the_fit_is_the_trainers_and_learns_as_it_did(result: efface.Result, trainer: hf.Trainer) -> None:
    fresh = fresh_model(result.task, trainer.model, seed=3)
    assert moved(fresh, trainer.model)
    before = margins(fresh, result.task, FORGET).mean()
    rest = torch.utils.data.Subset(TRAIN, range(30, RECORDS))
    result.task.fit(fresh, rest, 3)
    kept, left_out = margins(fresh, result.task, list(range(30, 90))).mean(), margins(fresh, result.task, FORGET).mean()
    assert kept > before + 1 and left_out < kept - 1


def test_the_page_runs_in_five_lines(trainer: hf.Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = {"trainer": trainer, "train_set": TRAIN, "holdout_set": UNSEEN, "tokenizer": TOKENIZER}
    names = run_page("transformers", world)
    same_outputs(names["model"], names["result"].model, names["result"].task)
    assert names["task"].groups[:4] == ["p0-0", "p0-0", "p0-1", "p0-1"]
    assert len(code_lines("transformers")) <= 5


@pytest.mark.parametrize("form", ["texts", "torch format", "no tokenizer", "several lengths"])
def test_rows_of_every_form_are_read(trainer: hf.Trainer, form: str) -> None:
    data: Any = {"texts": texts(RECORDS, 0), "torch format": TRAIN.with_format("torch")}.get(form, TRAIN)
    by: Any = TOKENIZER
    if form == "no tokenizer":  # rows of one length need no padding
        by, data = None, TRAIN.map(lambda r: TOKENIZER(r["text"], truncation=True, padding="max_length", max_length=16))
    task = make_task(trainer.model, train=data, holdout=data, tokenizer=by, test=None)
    expected = margins(trainer.model, make_task(trainer, holdout=UNSEEN), FORGET)
    assert torch.allclose(margins(trainer.model, task, FORGET), expected, atol=1e-4)


def test_the_trainers_own_dict_rows_need_no_hook_of_the_user(trainer: hf.Trainer) -> None:
    task = make_task(trainer.model, train=TRAIN, holdout=UNSEEN, tokenizer=TOKENIZER)
    plan = efface.check(trainer.model, task=task, forget=FORGET)
    assert plan is not None


LABELS = {
    "classes": (bert_config(), 1, Classes()),
    "regression": (bert_config(num_labels=1), 0.5, Regression()),
    "several labels": (bert_config(num_labels=3), [0.0, 1.0, 1.0], MultiLabel()),
}


@pytest.mark.parametrize("name", LABELS)
def test_the_kind_is_that_of_the_models_own_loss(name: str) -> None:
    config, label, kind = LABELS[name]
    rows = Dataset.from_list([{"input_ids": [4, 5, 6], "attention_mask": [1, 1, 1], "label": label}] * 4)
    model = hf.BertForSequenceClassification(config).eval()  # without dropout
    task = make_task(model, train=rows, holdout=rows, tokenizer=TOKENIZER)
    assert task.kind == kind
    batch = task.collate([rows[0], rows[1]])
    inputs, targets = task.unpack(batch)
    values = kind.values(task.forward(model, inputs), targets)
    own = model(**inputs, labels=targets if name != "several labels" else targets.float()).loss
    assert torch.allclose(kind.losses(values, kind.labels(targets)).mean(), own, atol=1e-5)


def test_a_language_models_targets_are_its_next_tokens(tmp_path: Path) -> None:
    config = hf.GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2, n_positions=32)
    model = hf.GPT2LMHeadModel(config).eval()
    task = make_task(model, train=TRAIN, holdout=UNSEEN, tokenizer=TOKENIZER)
    assert task.kind == Tokens()
    batch = task.collate([TRAIN[0]])
    inputs, targets = task.unpack(batch)
    values = task.rules.values(task.forward(model, inputs), targets)
    own = model(**inputs, labels=batch["labels"]).loss
    assert torch.allclose(task.rules.losses(values, targets).mean(), own, atol=1e-5)
    # a short record beside a longer one says the same
    rows = sorted(range(20), key=lambda i: len(TRAIN[i]["input_ids"]))
    pair, alone = (task.collate([TRAIN[i] for i in at]) for at in ([rows[0], rows[-1]], [rows[0]]))
    both = [task.rules.values(task.forward(model, i), t)[0] for i, t in (task.unpack(pair), task.unpack(alone))]
    assert torch.allclose(both[0], both[1], atol=1e-4)


def test_a_tagger_has_a_class_for_each_token() -> None:
    rows = Dataset.from_list([{"input_ids": [4] * n, "labels": [1, *[0] * (n - 1)]} for n in (3, 5, 4, 6)])
    model = hf.BertForTokenClassification(bert_config(num_labels=3)).eval()
    task = make_task(model, train=rows, holdout=rows, tokenizer=TOKENIZER)
    inputs, targets = task.unpack(task.collate([rows[0], rows[1]]))
    assert targets.tolist() == [[1, 0, 0, -100, -100], [1, 0, 0, 0, 0]]
    values = task.rules.values(task.forward(model, inputs), targets)
    assert task.kind == Tokens() and values.shape[0] == 2


def test_an_image_classifier_reads_images_by_its_processor() -> None:
    from PIL import Image

    config = hf.ViTConfig(
        image_size=16, patch_size=8, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    processor = hf.ViTImageProcessor(size={"height": 16, "width": 16})
    rows = [{"image": Image.new("RGB", (20, 20), (9 * k, 0, 0)), "label": k % 2} for k in range(4)]
    model = hf.ViTForImageClassification(config)
    task = make_task(model, train=rows, holdout=rows, tokenizer=processor)
    inputs, targets = task.unpack(task.collate(rows))
    assert task.forward(model, inputs).shape == (4, 2) and targets.tolist() == [0, 1, 0, 1]
    assert fresh_model(task, model, 0).config.image_size == 16


def test_what_training_began_from_is_asked_where_it_is_not_known(trainer: hf.Trainer, tmp_path: Path) -> None:
    trainer.model.save_pretrained(tmp_path)
    loaded = hf.BertForSequenceClassification.from_pretrained(tmp_path)
    with pytest.raises(efface.RequestError, match="pretrained=False for random weights"):
        make_task(loaded, train=TRAIN, holdout=UNSEEN, tokenizer=TOKENIZER)
    assert not make_task(loaded, train=TRAIN, holdout=UNSEEN, tokenizer=TOKENIZER, pretrained=False).fine_tuned
    task = make_task(loaded, train=TRAIN, holdout=UNSEEN, tokenizer=TOKENIZER, pretrained=tmp_path)
    assert task.fine_tuned and task.build_model is not None
    assert moved(task.build_model(), trainer.model) == set()


def test_other_models_are_refused_by_scope() -> None:
    with pytest.raises(efface.RequestError, match="BertForMaskedLM is out of scope"):
        make_task(hf.BertForMaskedLM(bert_config()), train=TRAIN, holdout=UNSEEN, tokenizer=TOKENIZER)
    with pytest.raises(efface.RequestError, match="expected a transformers model or a Trainer, got Linear"):
        make_task(torch.nn.Linear(2, 2), train=TRAIN, holdout=UNSEEN)
    with pytest.raises(efface.RequestError, match="needs its tokenizer"):
        make_task(hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=8, n_head=1, n_layer=1)), train=TRAIN, holdout=UNSEEN)


def test_a_call_without_a_task_names_what_makes_it(trainer: hf.Trainer) -> None:
    hint = r"efface\.integrations\.transformers\.make_task makes the task"
    with pytest.raises(efface.RequestError, match=rf"got Trainer: give the network within it, its \.model; or {hint}"):
        efface.check(trainer, train=TRAIN, holdout=UNSEEN, forget=FORGET)  # type: ignore[arg-type]
    with pytest.raises(efface.RequestError, match=rf"training records cannot be read .*Task\.collate; or {hint}"):
        efface.check(trainer.model, train=TRAIN, holdout=UNSEEN, forget=FORGET)
