"""Refusals of the command line: exit code 2, one clear line for each problem, and nothing written."""

from pathlib import Path

import pytest

from helpers.command_line import AUDIT, UNLEARN, answer, listing, make_workshop, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    make_workshop(folder)
    (folder / "nul.txt").write_bytes(b"1\n\x002\n")
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (folder / "words.txt").write_text("1\n007\ntwo\n3.0\n1_0\n\u0664\n")
    (folder / "gap.txt").write_text("1\n\n2\n")
    (folder / "comment.txt").write_text("# for Monday\n1\n")
    (folder / "odd.jsonl").write_text("1\n1e3\n2.0\nnull\n[3]\n")
    (folder / "empty.txt").write_text("\n")
    (folder / "unknown.txt").write_text("1\n300\n-1\n")
    (folder / "cut.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:500])
    (folder / "file").write_text("")
    (folder / "broken.py").write_text("import my_task\n\nraise RuntimeError('no such\\nserver')\n")
    (folder / "syntax.py").write_text("x = 1\ndef f(:\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit('bye')\n")
    (folder / "needs.py").write_text("import a_module_that_is_not_there\n")
    (folder / "odd.py").write_text(
        "from my_task import task as plain\n"
        "from torch import nn\n"
        "number = 3\n\n\n"
        "def wrong():\n    return {'train': 1}\n\n\n"
        "def raises():\n    helper()\n\n\n"
        "def helper():\n    raise KeyError('train')\n\n\n"
        "def wants(size):\n    return plain()\n\n\n"
        "def bare():\n    return plain(build_model=None)\n\n\n"
        "def wide():\n    net = nn.Sequential(nn.Linear(8, 9), nn.ReLU(), nn.Linear(9, 3))\n"
        "    return plain(build_model=lambda: net)\n\n\n"
        "def other():\n    return plain(build_model=lambda: nn.Linear(8, 3))\n\n\n"
        "def no_model():\n    return plain(build_model=lambda: 'model')\n\n\n"
        "def bad_model():\n    return plain(build_model=helper)\n"
    )
    return folder


def changed(**words: str) -> list[str]:
    """The words of `efface unlearn`, with some of them changed."""
    given = {"task": "my_task:task", "checkpoint": "model.safetensors", "forget": "ids.txt", "out": "run", **words}
    options = {k: v for k, v in given.items() if k != "task"}
    return ["unlearn", given["task"], *(part for k, v in options.items() for part in (f"--{k}", v))]


REFUSALS = {
    "checkpoint missing": ({"checkpoint": "no.safetensors"}, ["no.safetensors: there is no such file"]),
    "checkpoint cut short": ({"checkpoint": "cut.safetensors"}, ["cut.safetensors: damaged, or not a safetensors"]),
    "checkpoint of a strange kind": ({"checkpoint": "my_task.py"}, ["my_task.py: weights files end in .safetensors"]),
    "checkpoint of another network": (
        {"task": "odd:other"},
        ["lacks keys of the model: ", "has keys that the model lacks: "],
    ),
    "checkpoint of another shape": (
        {"task": "odd:wide"},
        ["model.safetensors: has another shape than the model: ", "0.weight is (48, 8), not (9, 8)"],
    ),
    "ids unknown": ({"forget": "unknown.txt"}, ["2 forget ids are not in the training records (indices 0 to 299)"]),
    "ids file missing": ({"forget": "no.txt"}, ["no.txt: there is no such file (--forget)"]),
    "ids file a folder": ({"forget": "."}, [".: is a folder, not a file of ids"]),
    "ids file with a NUL": ({"forget": "nul.txt"}, ["nul.txt: holds NUL bytes"]),
    "ids file in Latin-1": ({"forget": "latin.txt"}, ["latin.txt: is not UTF-8 text (byte 3)"]),
    "ids file without ids": ({"forget": "empty.txt"}, ["empty.txt: names no record id"]),
    "ids that are words": (
        {"forget": "words.txt"},
        [
            "words.txt: the task's ids are integers, but line 2: '007', line 3: 'two', line 4: '3.0' and 2 more; "
            "a line is exactly the id: 7, not +7, 007 or 7 with a blank"
        ],
    ),
    "ids file with an empty line": ({"forget": "gap.txt"}, ["gap.txt: line 2 is empty: an id is exactly its line"]),
    "ids file with a comment": (
        {"forget": "comment.txt"},
        ["'# for Monday'; lines that begin with # are no"],
    ),
    "ids that are no JSON integers": (
        {"forget": "odd.jsonl"},
        [
            "odd.jsonl: expected a JSON string or integer on each line",
            "line 2: '1e3', line 3: '2.0', line 4: 'null'",
        ],
    ),
    "ids in a format unknown": (
        {"forget-format": "csv"},
        ["format of ids: expected text or jsonl, got 'csv' (--forget-format)"],
    ),
    "method unknown": ({"method": "ster"}, ["there is no method 'ster' (did you mean 'steer'?)"]),
    "option unknown": ({"option": "stepz=3"}, ["steer has no option 'stepz' (did you mean 'steps'?)"]),
    "option out of range": ({"option": "steps=0"}, ["option steps of steer: expected 1 to 10000, got 0"]),
    "option of a wrong type": ({"option": "steps=few"}, ["option steps of steer: expected int, got 'few'"]),
    "option without =": ({"option": "steps"}, ["option 'steps': expected NAME=VALUE, for example steps=80"]),
    "device unknown": ({"device": "tpu"}, ["device 'tpu' is unknown: use auto, cpu, cuda or cuda:N"]),
    "out a file": ({"out": "file"}, ["file: is not a folder (--out)"]),
    "out below a file": ({"out": "file/run"}, ["file/run: cannot be "]),
    "out not empty": ({"out": "."}, [".: is not empty; give --force to write into it anyway (--out)"]),
    "task without a colon": ({"task": "my_task"}, ["task 'my_task': expected MODULE:NAME, for example my_task:task"]),
    "task without a name": ({"task": "my_task:"}, ["task 'my_task:': expected MODULE:NAME"]),
    "task named by its file": ({"task": "./jobs/my_task.py:t"}, ["name the module as in an import: jobs.my_task:t"]),
    "task module missing": ({"task": "my_tsk:task"}, ["there is no module 'my_tsk' (looked in "]),
    "task module's own import missing": (
        {"task": "needs:task"},
        ["module needs raised ModuleNotFoundError: ", "line 1"],
    ),
    "task attribute missing": ({"task": "my_task:tsk"}, ["module my_task has no 'tsk' (did you mean 'task'?)"]),
    "task module raises": (
        {"task": "broken:task"},
        ["module broken raised RuntimeError: no such server (", "broken.py, line 3)"],
    ),
    "task module does not parse": ({"task": "syntax:task"}, ["module syntax raised SyntaxError: ", "line 2)"]),
    "task module leaves": ({"task": "leaves:task"}, ["module leaves raised SystemExit: bye (", "line 2)"]),
    "task function raises": ({"task": "odd:raises"}, ["odd:raises raised KeyError: 'train' (", "odd.py, line 15)"]),
    "task function wants arguments": ({"task": "odd:wants"}, ["odd:wants raised TypeError: ", "'size'"]),
    "task is a number": ({"task": "odd:number"}, ["odd:number is of type int, not an efface.Task or a function"]),
    "task function gives a dict": ({"task": "odd:wrong"}, ["odd:wrong returned dict, not an efface.Task"]),
    "task without build_model": ({"task": "odd:bare"}, ["odd:bare has no build_model: set Task.build_model"]),
    "build_model gives a string": ({"task": "odd:no_model"}, ["Task.build_model: expected a torch.nn.Module, got str"]),
    "build_model raises": ({"task": "odd:bad_model"}, ["Task.build_model raised KeyError: 'train' (", "line 15)"]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused(here: Path, name: str) -> None:
    words, expected = REFUSALS[name]
    before = listing(here)
    result = run(*changed(**words))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    head, *problems = result.stderr.splitlines()
    assert head.startswith("efface: the request was refused")
    assert problems and all(line.startswith("  - ") for line in problems)
    for part in expected:
        assert part in result.stderr
    assert "Traceback" not in result.stderr
    assert listing(here) == before


@pytest.mark.parametrize("command", ["unlearn", "run"])
def test_an_option_of_the_method_that_is_written_otherwise_is_shown_its_form(here: Path, command: str) -> None:
    words = changed() if command == "unlearn" else ["run"]
    for more, wrong, form in (
        (["--steps", "10"], "No such option: --steps", "an option of the method is given as --option NAME=VALUE"),
        (["--option", "steps", "10"], "(10)", "an option of the method is one word: --option NAME=VALUE"),
    ):
        result = run(*words, *more)
        assert result.exit_code == 2
        assert f"{wrong}; {form}" in " ".join(result.stderr.split())
    assert "; " not in run(*words, "extra", "words").stderr  # what is no option gets no such hint


def test_options_of_level_strong_are_refused_at_other_levels_before_any_work(here: Path) -> None:
    for more, names in (
        (["--models", "16", "--jobs", "2"], ["--models", "--jobs"]),
        (["--cache", "kept"], ["--cache"]),
    ):
        for level in ([], ["--level", "quick"]):
            result = run(*changed(), *level, *more)
            assert result.exit_code == 2
            lines = [line for line in result.stderr.splitlines() if line.startswith("  - ")]
            assert sorted(lines) == sorted(f"  - {name} is for --level strong" for name in names)


def test_a_rehearsal_is_refused_where_there_can_be_none(here: Path) -> None:
    result = run(*changed(), "--level", "quick", "--rehearse")
    assert result.exit_code == 2 and "--rehearse is for levels standard and strong" in result.stderr


def test_all_that_needs_no_model_is_refused_at_once(here: Path) -> None:
    before = listing(here)
    words = changed(
        task="my_tsk:task", checkpoint="no.pt", forget="no.txt", out=".", device="tpu", method="ster", option="steps"
    )
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == "efface: the request was refused for 7 reasons:"
    said = answer(run(*words, "--json"))
    assert list(said) == ["error", "problems"]
    assert said["error"] == "the request was refused"
    assert [f"  - {line}" for line in said["problems"]] == result.stderr.splitlines()[1:]
    assert listing(here) == before


def test_all_that_needs_a_model_is_refused_at_once(here: Path) -> None:
    words = changed(forget="unknown.txt", checkpoint="cut.safetensors", option="steps=0")
    result = run(*words)
    assert result.stderr.splitlines()[0] == "efface: the request was refused for 3 reasons:"
    # what needs no model is said first, alone: the rest is not known without torch
    result = run(*words, "--device", "tpu")
    assert result.stderr.splitlines()[1:] == ["  - device 'tpu' is unknown: use auto, cpu, cuda or cuda:N"]


def test_the_librarys_own_refusal_is_told_the_same_way(here: Path) -> None:
    (here / "ids.txt").write_text("\n".join(map(str, range(36))))
    (here / "twins.py").write_text(
        "from my_task import records, task as plain\n\n\ndef task():\n    data = records(300, 0)\n"
        "    data.tensors[0][299] = data.tensors[0][5]\n"
        "    data.tensors[1][299] = data.tensors[1][5]\n    return plain(train=data)\n"
    )
    result = run(*changed(task="twins:task"))
    assert result.exit_code == 2
    assert "5 (twin of 299)" in result.stderr
    assert not (here / "run").exists()


def test_the_checkpoint_is_never_replaced(here: Path) -> None:
    (here / "run").mkdir()
    kept = (here / "model.safetensors").read_bytes()
    (here / "run/unlearned.safetensors").write_bytes(kept)
    result = run(*changed(checkpoint="run/unlearned.safetensors"), "--force")
    assert result.exit_code == 2
    assert "run/unlearned.safetensors: would be replaced by the unlearned weights" in result.stderr
    assert (here / "run/unlearned.safetensors").read_bytes() == kept


def test_audit_names_each_checkpoint_that_is_bad(here: Path) -> None:
    before = listing(here)
    result = run(*("absent.safetensors" if w == "model.safetensors" else w for w in AUDIT), "--retrained", "absent.pt")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[1:] == [
        "  - absent.safetensors: there is no such file (--original)",
        "  - absent.pt: there is no such file (--retrained)",
    ]
    cut = {"model.safetensors": "cut.safetensors", "other.safetensors": "cut.safetensors"}
    result = run(*(cut.get(w, w) for w in AUDIT))
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == "efface: the audit was refused for 2 reasons:"
    assert listing(here) == before


@pytest.mark.parametrize(
    ("words", "head"),
    [
        (("status",), "nothing was done:"),
        (("export", "1", "--out", "out"), "nothing was done:"),
        (("request", "show", "1"), "nothing was done:"),
        (("request", "add", "--ids", "no.txt"), "the request was refused for 2 reasons:"),
        (("run",), "the run was refused:"),
        (("init", "no:task", "--checkpoint", "no.safetensors"), "no store was made for 2 reasons:"),
        (("demo", "--out", "my_task.py"), "the demo was refused:"),
    ],
)
def test_a_heading_says_what_was_refused(here: Path, words: tuple[str, ...], head: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, f"efface: {head}")
    assert answer(run(*words, "--json"))["error"] == head.split(" for ")[0].rstrip(":")


def test_wrong_usage_is_refused_too() -> None:
    assert run(*UNLEARN[:-2]).exit_code == 2
    assert run(*UNLEARN, "--seed", "one").exit_code == 2
    assert run(*UNLEARN, "--reference-models", "0").exit_code == 2
    assert run("unlern").exit_code == 2
