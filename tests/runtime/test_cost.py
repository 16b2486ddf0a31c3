"""The meter charges each phase its own time and examples."""

import time

import pytest

from efface.runtime.cost import Meter


class Clock:
    """Stands in for the two clocks, so that phases have exact lengths."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.cpu = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(time, "process_time", lambda: self.cpu)

    def spend(self, wall: float, cpu: float) -> None:
        self.wall += wall
        self.cpu += cpu


def test_meter_charges_nested_time_to_the_inner_phase_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, meter = Clock(monkeypatch), Meter()
    clock.spend(50, 50)  # outside every phase: charged to none
    with meter.phase("outer"):
        clock.spend(1, 2)
        with meter.phase("inner"):
            clock.spend(10, 20)
            meter.count(forward=4)
            with meter.phase("outer"):
                clock.spend(100, 200)
        clock.spend(2, 4)
        meter.count(forward=1, backward=2)
    clock.spend(50, 50)
    meter.count(backward=3)
    phases = meter.cost().phases
    assert set(phases) == {"outer", "inner", "other"}
    assert (phases["outer"].wall_s, phases["outer"].cpu_s) == (103, 206)
    assert (phases["outer"].forward, phases["outer"].backward) == (1, 2)
    assert (phases["inner"].wall_s, phases["inner"].cpu_s, phases["inner"].forward) == (10, 20, 4)
    assert (phases["other"].wall_s, phases["other"].cpu_s, phases["other"].backward) == (0, 0, 3)
    assert meter.cost().total.wall_s == 113


def test_meter_counts_open_phases_and_survives_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, meter = Clock(monkeypatch), Meter()
    with pytest.raises(ZeroDivisionError), meter.phase("a"):
        clock.spend(1, 1)
        early = meter.cost()
        clock.spend(1, 1)
        raise ZeroDivisionError
    clock.spend(1, 1)
    assert early.phases["a"].wall_s == 1
    assert meter.cost().phases["a"].wall_s == 2
