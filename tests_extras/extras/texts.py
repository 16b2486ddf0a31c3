"""Small texts, a tokenizer and models of Hugging Face that are made here: nothing is downloaded."""

import random
from typing import Any

import transformers as hf
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = [f"w{k}" for k in range(60)]
RECORDS, HOLDOUT = 240, 160


def tokenizer() -> hf.PreTrainedTokenizerFast:
    vocabulary = {word: k for k, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def texts(n: int, seed: int, noise: float = 0.2) -> Dataset:
    """Texts of two classes with words of their own among others, of which a share has the label of the other."""
    draw, rows = random.Random(seed), []
    for k in range(n):
        own = WORDS[:10] if k % 2 else WORDS[10:20]
        words = draw.choices(own, k=4) + draw.choices(WORDS[20:], k=draw.randint(3, 7))
        draw.shuffle(words)
        label = k % 2 if draw.random() > noise else 1 - k % 2
        rows.append({"id": f"text-{seed}-{k}", "person": f"p{seed}-{k // 2}", "text": " ".join(words), "label": label})
    return Dataset.from_list(rows)


def encoded(data: Dataset, by: Any) -> Dataset:
    return data.map(lambda row: by(row["text"], truncation=True, max_length=16))


def bert_config(**more: Any) -> hf.BertConfig:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    return hf.BertConfig(vocab_size=64, max_position_embeddings=32, hidden_dropout_prob=0.0, **{**sizes, **more})


def arguments(folder: Any, epochs: int = 15, **more: Any) -> hf.TrainingArguments:
    return hf.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        learning_rate=5e-3,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        **more,
    )


def trained(model: Any, data: Dataset, folder: Any, by: Any, **more: Any) -> hf.Trainer:
    """A Trainer that has trained."""
    trainer = hf.Trainer(model=model, args=arguments(folder, **more), train_dataset=data, processing_class=by)
    trainer.train()
    return trainer
