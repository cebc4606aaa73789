import pytest

from feasible_jax.evaluation import AVG_GAP_METRICS, average_gap
from feasible_jax.evaluation.avg_gap import difference


def row(*values):
    return dict(zip(AVG_GAP_METRICS, values, strict=True))


# UA, RA, TA, MIA and the gap as published: ResNet-18, CIFAR-10, 10% forgotten, ten seeds.
RETRAINED = row(5.21, 100.0, 94.44, 13.29)
PUBLISHED = [
    (row(0.62, 99.99, 94.34, 15.00), 1.60),
    (row(0.03, 100.0, 94.47, 6.57), 2.98),
    (row(8.46, 94.55, 88.63, 15.49), 4.18),
    (row(0.13, 99.92, 94.05, 1.13), 4.43),
]


@pytest.mark.parametrize(("method", "gap"), PUBLISHED)
def test_published_tables_come_out(method, gap):
    assert average_gap(method, RETRAINED) == pytest.approx(gap, abs=0.011)


def test_the_retrained_model_has_no_gap_to_itself():
    assert average_gap(RETRAINED, RETRAINED) == 0.0


def test_gaps_to_both_sides_do_not_cancel():
    assert average_gap(row(10.0, 90.0, 80.0, 20.0), row(20.0, 80.0, 90.0, 10.0)) == 10.0


def test_a_missing_value_is_named_with_its_row():
    with pytest.raises(KeyError, match="row has no value for 'mia_svc'"):
        average_gap({**RETRAINED, "mia_svc": None}, RETRAINED)
    with pytest.raises(KeyError, match="reference has no value for 'x'"):
        difference({"x": 1.0}, {}, "x")


def test_no_metrics_are_refused():
    with pytest.raises(ValueError, match="metrics is empty"):
        average_gap(RETRAINED, RETRAINED, ())
