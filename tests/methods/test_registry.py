"""The table of methods: keys at once, classes when they are asked for."""

import subprocess
import sys

import pytest

import efface
from efface import methods
from efface.errors import RequestError
from efface.methods import REGISTRY


def test_each_key_is_that_of_its_class_and_each_class_is_a_name_of_the_package() -> None:
    assert list(REGISTRY) == list(methods.available()) and len(set(REGISTRY)) == len(REGISTRY)
    for key, method in REGISTRY.items():
        assert method.key == key and issubclass(method, methods.Method)
        assert getattr(methods, method.__name__) is method
        assert method.__name__ in dir(methods)


def test_a_key_is_checked_without_torch() -> None:
    code = (
        "import sys, efface\n"
        "assert efface.methods.available()[0] == 'steer'\n"
        "try:\n    efface.methods.get('ster')\nexcept efface.RequestError as error:\n    print(*error.problems)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "there is no method 'ster' (did you mean 'steer'?)\n"


@pytest.mark.parametrize("odd", ["ster", "", None, 3])
def test_what_is_no_key_is_refused_in_the_same_words_everywhere(odd: object) -> None:
    with pytest.raises(RequestError, match="method") as one:
        methods.get(odd)  # type: ignore[arg-type]
    with pytest.raises(RequestError) as other:
        methods.check_key(odd)
    assert one.value.problems == other.value.problems


@pytest.mark.parametrize(
    ("method", "options", "line"),
    [
        ("Steer", None, "there is no method 'Steer' (did you mean 'steer'?)"),
        ("STEER", None, "there is no method 'STEER' (did you mean 'steer'?)"),
        (methods.Steer, None, "method: expected a method or its key, got the class Steer: give Steer()"),
        (
            {"steps": 3},
            None,
            "method: expected a method or its key, such as 'steer' or efface.methods.Steer(steps=40), got dict",
        ),
        (
            None,
            None,
            "method: expected a method or its key, such as 'steer' or efface.methods.Steer(steps=40), got None",
        ),
        ("steer", [3], "options: expected the values by name, such as {'steps': '40'}, got [3]"),
        ("steer", {3: 4}, "steer has no option '3' (known: "),
        (methods.Steer(), {"steps": 3}, "options: steer was given with its options already: leave them out"),
    ],
)
def test_what_makes_no_method_is_refused_with_what_would(method: object, options: object, line: str) -> None:
    with pytest.raises(RequestError) as caught:
        methods.get(method, options)  # type: ignore[arg-type]
    assert [found[: len(line)] for found in caught.value.problems] == [line]


def test_options_may_be_numbers_as_well_as_text() -> None:
    assert methods.get("steer", {"steps": 3, "travel": "2.5"}) == methods.Steer(steps=3, travel=2.5)
    assert methods.get("boundary", {"expand": True}) == methods.Boundary(expand=True)


def test_a_name_that_is_not_there_is_said_to_be_missing() -> None:
    for package in (efface, methods, efface.store):
        with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'Nobody'"):
            package.Nobody  # noqa: B018
        assert set(package.__all__) <= set(dir(package))
