import pytest

from feasible_jax.experiments import stopwatch
from feasible_jax.experiments.stopwatch import Stopwatch


def test_the_lap_that_compiled_does_not_count(monkeypatch):
    times = iter([0.0, 100.0, 100.0, 101.0, 105.0, 106.5, 106.5])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(times))
    watch = Stopwatch()
    watch.lap(None)  # 100 s, with compilation
    watch.lap(None)  # 1 s; restarted at 105
    watch.lap(None)  # 1.5 s
    assert watch.typical() == pytest.approx(1.5)


def test_without_laps_there_is_no_time():
    assert Stopwatch().typical() == 0.0
