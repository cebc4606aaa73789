import pytest

from feasible_jax.report.groups import Group
from feasible_jax.report.tradeoff_view import close_up, point, whole_view


def at(forget, test, method="NegGrad+"):
    rows = ({"seed": 0, "forget_accuracy": forget, "test_accuracy": test},)
    return Group("random", method, "plain", False, rows)


ORIGINAL, RETRAINED = at(99.0, 85.0, "original"), at(0.0, 83.0, "retrained")


def test_every_mean_is_inside(run):
    view = whole_view([ORIGINAL, RETRAINED, at(50.0, 10.0)])
    assert view.x[0] < 0.0 < 99.0 < view.x[1]
    assert view.y[0] < 10.0 < 85.0 < view.y[1]


def test_a_model_without_an_accuracy_has_no_point():
    assert point(at(None, 10.0)) is None
    assert whole_view([at(None, 10.0)]) is None


def test_a_close_up_leaves_out_the_destroyed_and_the_original():
    view = close_up([ORIGINAL, RETRAINED, at(2.0, 10.0), at(1.0, 81.0)])
    assert view == ((-1.0, 2.0), (80.0, 84.0))


@pytest.mark.parametrize(
    "groups",
    [
        [ORIGINAL, RETRAINED, at(1.0, 81.0)],
        [ORIGINAL, RETRAINED, at(1.0, 10.0)],
        [ORIGINAL, at(1.0, 10.0), at(1.0, 81.0)],
        [ORIGINAL, RETRAINED],
    ],
)
def test_no_close_up_where_it_shows_nothing_new(groups):
    assert close_up(groups) is None
