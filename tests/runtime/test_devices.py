"""Devices by name, and the number of threads."""

import pytest
import torch

from efface.errors import RequestError
from efface.runtime.devices import check_device_name, resolve_device, threads

UNKNOWN = ("gpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "cpu:0", "CPU", "mps", "auto:0", f"cuda:{'9' * 5000}")


@pytest.mark.parametrize("name", UNKNOWN, ids=lambda name: name[:9])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="is unknown: use auto, cpu, cuda or cuda:N"):
        resolve_device(name)
    with pytest.raises(RequestError, match="is unknown: use auto, cpu, cuda or cuda:N"):
        check_device_name(name)


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:17"])
def test_a_known_name_is_no_promise_of_a_device(name: str) -> None:
    check_device_name(name)


def test_devices_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("cpu") == resolve_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:0"):
        with pytest.raises(RequestError, match="sees no CUDA device"):
            resolve_device(name)


def test_devices_with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(RequestError, match="'cuda:2' does not exist: torch sees 2 CUDA devices"):
        resolve_device("cuda:2")


def test_the_number_of_threads_is_as_before_also_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
