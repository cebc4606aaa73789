from feasible_jax.report.cells import Cell, Column, cell
from feasible_jax.report.groups import Group


def group(key, *values):
    rows = tuple({"seed": seed, key: value} for seed, value in enumerate(values))
    return Group("random", "NegGrad+", "plain", False, rows)


def test_mean_and_half_width():
    assert cell(group("ra", 1.0, 2.0, 3.0), Column("RA", "ra")) == Cell("2.0", "2.5")


def test_one_seed_has_no_half_width():
    assert cell(group("ra", 97.04), Column("RA", "ra")) == Cell("97.0")


def test_missing_values():
    assert str(cell(group("ra", None, None), Column("RA", "ra"))) == "\N{EN DASH}"
    assert str(cell(group("ra", None, 1.0, 1.0), Column("RA", "ra"), "*")) == "1.0±0.0*(2/3)"


def test_intervals_that_say_nothing_are_left_out():
    column = Column("Kept %", "kept", scale=100.0, interval="never")
    assert cell(group("kept", 0.2, 0.4), column) == Cell("30.0")


def test_settings_show_their_range():
    column = Column("lr", "lr", setting=True)
    assert str(cell(group("lr", 0.01, 0.01), column)) == "0.01"
    assert str(cell(group("lr", 0.1, 0.001, 0.01), column)) == "0.001\N{EN DASH}0.1"
    assert str(cell(group("lr", None), column)) == "\N{EN DASH}"


def test_a_single_seed_shows_the_interval_within_its_run():
    row = {"seed": 0, "mia_auc": 0.5551, "mia_auc_low": 0.51, "mia_auc_high": 0.6}
    column = Column("MIA AUC", "mia_auc", digits=3, bounds=("mia_auc_low", "mia_auc_high"))
    group = Group("random", "NegGrad+", "plain", False, (row,))
    assert str(cell(group, column)) == "0.555 [0.510, 0.600]"
    several = Group("random", "NegGrad+", "plain", False, (row, row | {"seed": 1}))
    assert "[" not in str(cell(several, column))
    unknown = Group("random", "NegGrad+", "plain", False, ({"seed": 0, "mia_auc": 0.5},))
    assert str(cell(unknown, column)) == "0.500"


def test_of_upper_bounds_the_largest_is_shown_rounded_up():
    column = Column("TA fell", "fall", upper_bound=True)
    assert cell(group("fall", 0.2, 1.21, -3.0), column) == Cell("1.3")
    assert cell(group("fall", -0.39), column) == Cell("-0.3")
    assert str(cell(group("fall", None, 0.5), column)) == "0.5(1/2)"
    assert str(cell(group("fall", None), column)) == "\N{EN DASH}"
