import pytest

from feasible_jax.evaluation import run_time_efficiency


def test_minutes_and_ratio():
    assert run_time_efficiency(30.0, 120.0) == (0.5, 0.25)


def test_retraining_is_as_long_as_itself():
    assert run_time_efficiency(77.0, 77.0).ratio == 1.0


def test_doing_nothing_is_free():
    assert run_time_efficiency(0.0, 120.0) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("seconds", "retrain_seconds", "expected"),
    [(None, None, (None, None)), (None, 60.0, (None, None)), (60.0, None, (1.0, None))],
)
def test_the_unknown_stays_unknown(seconds, retrain_seconds, expected):
    assert run_time_efficiency(seconds, retrain_seconds) == expected


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_impossible_times_are_refused(seconds):
    with pytest.raises(ValueError, match="seconds is"):
        run_time_efficiency(seconds)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_retraining_takes_time(seconds):
    with pytest.raises(ValueError, match="retrain_seconds is"):
        run_time_efficiency(1.0, seconds)
