"""Suites: what is read of a TOML file, and that all that is wrong in one is said at once."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.harness.problems import PROBLEMS
from benchmarks.harness.requests import SHARE
from benchmarks.harness.suite import CONTROLS, Cell, Setting, Suite, Tuning, limited, read_suite
from efface.errors import RequestError
from efface.methods import REGISTRY

SUITES = Path(__file__).parents[2] / "benchmarks" / "suites"
RECIPES = """
[finetune]
published = { lr = 0.01, epochs = 10.0 }
space = { lr = [1e-3, 1e-1], epochs = [0.5, 4] }
note = "as published"
[scrub]
published = { lr = 0.001 }
[perturb]
evidence = true
"""
SETTINGS = """
[[settings]]
problem = "noisy-digits"
request = "random"
originals = 4
others = 2
retrained = 8
methods = ["steer", "finetune"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "methods.toml").write_text(RECIPES, encoding="utf-8")
    return tmp_path


def suite(folder: Path, text: str) -> Suite:
    place = folder / "suite.toml"
    place.write_text(text, encoding="utf-8")
    return read_suite(place)


def refused(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(RequestError) as caught:
        suite(folder, text)
    return caught.value.problems


def with_lines(*lines: str) -> str:
    """SETTINGS with lines in place of those of the same keys."""
    keys = {line.split(" =")[0] for line in lines}
    kept = [line for line in SETTINGS.splitlines() if line.split(" =")[0] not in keys]
    return "\n".join([*kept, *lines])


@pytest.mark.parametrize("name", sorted(p.name for p in SUITES.glob("*.toml") if p.name != "methods.toml"))
def test_every_suite_of_the_repository_can_be_read(name: str) -> None:
    read = read_suite(SUITES / name)
    assert read.name == Path(name).stem and read.title and read.cells
    for setting in {c.setting for c in read.cells}:
        ours = {c.method for c in read.cells if c.setting == setting}
        assert {*CONTROLS, "steer"} <= ours
    names = [c.name for c in read.cells]
    assert len(set(names)) == len(names), "two cells would write the same file"


def test_a_setting_gives_controls_and_methods_each_in_its_variants(folder: Path) -> None:
    read = suite(folder, f"title = 'A title'\n[tuning]\ndraws = 2\n{SETTINGS}")
    setting = Setting("noisy-digits", 600, "random", SHARE, 1, 4, 8)
    assert read.cells == (
        Cell(setting, "noop", "default", 4),
        Cell(setting, "retrain", "default", 4),
        Cell(setting, "steer", "default", 4),
        Cell(setting, "finetune", "published", 2),
        Cell(setting, "finetune", "tuned", 2),
    )
    assert (read.name, read.title, read.tuning) == ("suite", "A title", Tuning(draws=2))
    recipe = read.recipes["finetune"]
    assert recipe.published == {"lr": 0.01, "epochs": 10.0} and recipe.space["epochs"] == (0.5, 4.0)
    assert read.recipes["perturb"].evidence and not recipe.evidence and recipe.note == "as published"
    assert read.cells[3].name == "noisy-digits-600-random-0.01-1-finetune-published"


def test_nothing_is_tuned_where_the_suite_or_the_setting_does_not_say_so(folder: Path) -> None:
    without_space = with_lines('methods = "scrub"')
    for text in (SETTINGS, f"[tuning]\n{with_lines('tuned = false')}", f"[tuning]\n{without_space}"):
        assert "tuned" not in {c.variant for c in suite(folder, text).cells}


def test_lists_are_combined_and_the_same_cell_is_there_once(folder: Path) -> None:
    lists = with_lines('request = ["random", "class"]', "share = [0.01, 0.1]", 'methods = "all"')
    read = suite(folder, lists + SETTINGS)
    assert len({c.setting for c in read.cells}) == 4
    assert {c.method for c in read.cells} == {key for key, made in REGISTRY.items() if not made.needs_structure}
    assert len(set(read.cells)) == len(read.cells)


REFUSED = {
    "key of the suite": ("titel = 'x'\n" + SETTINGS, "suite.toml: unknown key 'titel' (did you mean 'title'?)"),
    "key of a setting": (
        with_lines("recrods = 600"),
        "settings 1: unknown key 'recrods' (did you mean 'records'?)",
    ),
    "key of tuning": ("[tuning]\ndraw_s = 2\n" + SETTINGS, "tuning: unknown key 'draw_s' (did you mean 'draws'?)"),
    "method": (
        with_lines('methods = ["fintune"]'),
        "settings 1: there is no method 'fintune' (did you mean 'finetune'?)",
    ),
    "problem": (
        with_lines('problem = "noisy-digit"'),
        "settings 1: there is no problem 'noisy-digit' (did you mean 'noisy-digits'?)",
    ),
    "no problem": (
        "\n".join(line for line in SETTINGS.splitlines() if not line.startswith("problem")),
        "settings 1: problem is missing",
    ),
    "request": (with_lines('request = "rundom"'), "settings 1: there is no request 'rundom' (did you mean 'random'?)"),
    "no request": (with_lines("request = []"), "settings 1.request: [] should be non-empty"),
    "records": (with_lines("records = 601"), "settings 1: noisy-digits comes in (200, 600) records, not 601"),
    "odd number retrained": (
        with_lines("retrained = 9"),
        "settings 1: retrained: expected an even number of 8 or more, got 9",
    ),
    "few retrained": (
        with_lines("retrained = 6"),
        "settings 1: retrained: expected an even number of 8 or more, got 6",
    ),
    "more others than originals": (
        with_lines("others = 5"),
        "settings 1: others: expected 2 to originals (4), got 5",
    ),
    "one other": (with_lines("others = 1"), "settings 1: others: expected 2 to originals (4), got 1"),
    "few models that tune": (
        "[tuning]\nretrained = 3\n" + SETTINGS,
        "tuning: retrained: expected 4 or more, got 3",
    ),
    "no draws": ("[tuning]\ndraws = 'a'\n" + SETTINGS, "tuning.draws: 'a' is not of type 'integer'"),
    "tuning that is no table": ("tuning = 3\n" + SETTINGS, "tuning: 3 is not of type 'object'"),
    "settings that are no tables": ("settings = 3", "suite.toml.settings: 3 is not of type 'array'"),
    "number of originals": (with_lines("originals = 'x'"), "settings 1.originals: 'x' is not of type 'integer'"),
    "share": (with_lines("share = 2.0"), "settings 1.share: 2.0 is greater than the maximum of 0.5"),
    "draw": (with_lines("draw = 'x'"), "settings 1.draw: 'x' is not of type 'integer'"),
    "list in a list": (with_lines("problem = [['noisy-digits']]"), "settings 1.problem.0: ['noisy-digits'] is not"),
    "no settings": ("title = 'x'", "suite.toml: no [[settings]]"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_in_a_suite_is_said(folder: Path, name: str) -> None:
    text, said = REFUSED[name]
    (found,) = refused(folder, text)
    assert found.startswith(said)


WRONG_RECIPES = {
    "method": ("[fintune]\nnote = 'x'", "methods.toml, fintune: there is no such method (did you mean 'finetune'?)"),
    "key": ("[finetune]\npublised = {}", "methods.toml, finetune: unknown key 'publised' (did you mean 'published'?)"),
    "option": (
        "[finetune]\npublished = { lrr = 1.0 }",
        "methods.toml, finetune.published: unknown key 'lrr' (did you mean 'lr'?)",
    ),
    "option of the space": (
        "[finetune]\nspace = { lrr = [0.1, 1.0] }",
        "methods.toml, finetune.space: unknown key 'lrr' (did you mean 'lr'?)",
    ),
    "lengths of a method without steps": (
        "[influence]\npublished = { epochs = 2.0 }",
        "methods.toml, influence.published: unknown key 'epochs'",
    ),
    "bounds the wrong way round": (
        "[finetune]\nspace = { lr = [1.0, 0.1] }",
        "methods.toml, finetune.space.lr: expected [low, high], got [1.0, 0.1]",
    ),
    "a bound of 0": (
        "[finetune]\nspace = { lr = [0, 0.1] }",
        "methods.toml, finetune.space.lr.0: 0 is less than or equal to the minimum of 0",
    ),
    "words for bounds": (
        '[finetune]\nspace = { lr = ["a", 2] }',
        "methods.toml, finetune.space.lr.0: 'a' is not of type 'number'",
    ),
    "a published value": (
        "[finetune]\npublished = { lr = 99.0 }",
        "option lr of finetune: expected 1e-08 to 10.0, got 99.0",
    ),
    "no table": ("finetune = 3", "methods.toml, finetune: 3 is not of type 'object'"),
    "one bound": (
        "[finetune]\nspace = { lr = 0.1 }",
        "methods.toml, finetune.space.lr: 0.1 is not of type 'array'",
    ),
}


@pytest.mark.parametrize("name", WRONG_RECIPES)
def test_what_is_wrong_in_a_recipe_is_said(folder: Path, name: str) -> None:
    text, said = WRONG_RECIPES[name]
    (folder / "methods.toml").write_text(text, encoding="utf-8")
    (found,) = refused(folder, SETTINGS)
    assert found.startswith(said)


def test_all_that_is_wrong_is_said_at_once(folder: Path) -> None:
    (folder / "methods.toml").write_text("[fintune]\n[finetune]\nspace = { lr = 3 }", encoding="utf-8")
    first = with_lines(
        'problem = "mnits"', 'request = "rundom"', 'methods = ["fintune"]', "retrained = 3", "others = 9"
    )
    found = refused(folder, "other = 1\n[tuning]\nmodels = 0\n" + first + with_lines("records = [600, 1]"))
    assert len(found) == 10
    assert [t.split(":")[0] for t in found] == [
        *("suite.toml", "methods.toml, fintune", "methods.toml, finetune.space.lr", "tuning.models"),
        *["settings 1"] * 5,
        "settings 2",
    ]


def test_files_that_are_none_are_refused(folder: Path) -> None:
    (found,) = refused(folder, "a = = 1")
    assert "suite.toml: not a TOML file" in found
    for odd in ("a = nan", "a = -inf", "a = " + "1" * 5000, "a = " + "[" * 5000):
        (found,) = refused(folder, odd)
        assert "suite.toml: not a TOML file" in found
    with pytest.raises(RequestError, match=r"no\.toml: cannot be read: No such file or directory"):
        read_suite(folder / "no.toml")
    (folder / "latin.toml").write_bytes(b"title = 'caf\xe9'")
    with pytest.raises(RequestError, match=r"latin\.toml: not a TOML file"):
        read_suite(folder / "latin.toml")
    (found,) = refused(folder, "methods = 'others.toml'\n" + SETTINGS)
    assert "others.toml: cannot be read" in found


def test_the_usual_number_of_records_is_taken_where_a_setting_does_not_say(folder: Path) -> None:
    cells = suite(folder, with_lines('problem = ["fashion", "letter"]')).cells
    assert {(c.setting.problem, c.setting.records) for c in cells} == {("fashion", 15000), ("letter", 12500)}
    assert PROBLEMS["fashion-resnet"].usual == 5000


def test_a_setting_is_json_and_names_files() -> None:
    setting = Setting("letter", 12500, "random", 0.01, 1, 4, 8)
    assert setting.name == "letter-12500-random-0.01-1" and json.dumps(asdict(setting))


def test_a_suite_can_be_cut_to_some_methods_and_the_controls(folder: Path) -> None:
    whole = suite(folder, with_lines('methods = ["steer", "finetune", "ssd"]'))
    cut = limited(whole, ["ssd"])
    assert {c.method for c in cut.cells} == {"noop", "retrain", "ssd"}
    assert set(cut.cells) < set(whole.cells) and cut.recipes is whole.recipes
    with pytest.raises(RequestError, match=r"--only: .* has no method 'sdd' \(did you mean 'ssd'\?\)"):
        limited(whole, ["ssd", "sdd"])
