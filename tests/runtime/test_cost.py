"""The meter charges each phase its own time and examples."""

import time

import pytest

from efface.runtime.cost import Cost, Meter, PhaseCost, spent


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


def test_a_record_training_is_a_forward_and_a_backward_pass_and_a_forward_pass_alone_a_third() -> None:
    taught, read = PhaseCost(wall_s=1, cpu_s=2, forward=900, backward=900), PhaseCost(cpu_s=1, forward=300)
    cost = Cost({"steps": taught, "checks": read})
    assert (taught.record_trainings, read.record_trainings, cost.record_trainings) == (900, 100, 1000)
    assert read.as_json() == {"wall_s": 0, "cpu_s": 1, "forward": 300, "backward": 0, "record_trainings": 100}
    assert spent(cost) == ("3 s of CPU time / 1,000 record-trainings in 1 s (steps 2 s / 900, checks 1 s / 100)")
