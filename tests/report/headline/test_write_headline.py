import numpy as np
import pytest

from feasible_jax.report.headline.gains import gains
from feasible_jax.report.headline.pictures import fronts_figure, gains_figure, pareto
from feasible_jax.report.headline.write_headline import (
    Headline,
    lead,
    read_headline,
    write_headline,
)

FRONT = {
    "dataset": "digits", "model": "mlp", "scenario": "random", "method": "NegGrad+",
    "unlearning": [1.0, 5.0, 3.0], "remaining": [90.0, 80.0, 85.0],
}  # fmt: skip


@pytest.fixture
def headline(rows):
    fronts = [FRONT | {"arm": arm} for arm in ("plain", "feasible")]
    return Headline(rows, rows, fronts, ["digits-mlp"], "feasible-jax benchmark --out <here>")


def test_the_page_holds_all_and_nothing_from_elsewhere(headline, tmp_path):
    page = write_headline(headline, tmp_path).read_text()
    for text in ("gained at equal utility", "Pareto fronts: digits, mlp", "digits-mlp/index.html"):
        assert text in page
    assert "&lt;here&gt;" in page
    assert page.count("data:image/png") == 2
    assert "http" not in page.split("<main>")[1]
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {
        "index.html", "results.json", "headline.md", "gains.png", "fronts-digits-mlp-random.png",
    }  # fmt: skip
    assert read_headline(tmp_path) == headline
    assert "| feasible | +6.0" in (tmp_path / "headline.md").read_text()


def test_the_lead_counts_and_sums_up(headline):
    text = lead(headline)
    assert text.startswith("2 methods, 2 scenarios, 5 seeds, on digits with mlp. Points")
    assert "feasible +6.0 ±" in text


def test_the_lead_tells_on_which_data_fewer_ran(rows):
    fewer = [row | {"dataset": "faces"} for row in rows if row["method"] != "SalUn"]
    fewer = [row for row in fewer if row["seed"] < 3]
    as_many = [row | {"model": "cnn"} for row in rows]
    alone = [row | {"method": "SSD", "scenario": "more"} for row in rows if row["arm"] == "plain"]
    text = lead(Headline([], [*rows, *fewer, *as_many, *alone], [], [], ""))
    assert text.startswith(
        "2 methods, 2 scenarios, 5 seeds, on digits with mlp and digits with cnn; "
        "1 method, 2 scenarios, 3 seeds, on faces with mlp. Points"
    )


def test_pictures_have_a_panel_a_scenario_and_a_method(rows):
    figure = gains_figure(gains(rows, "unlearning_accuracy"))
    assert [a.get_title(loc="left") for a in figure.axes] == ["Random examples", "One class"]
    fronts = [FRONT | {"arm": "plain", "method": m} for m in ("a", "b")]
    assert [a.get_title(loc="left") for a in fronts_figure(fronts).axes] == ["a", "b"]


def test_a_front_is_what_no_other_point_beats():
    rng = np.random.default_rng(0)
    xs, ys = rng.integers(0, 20, (2, 200)).astype(float)
    front = set(zip(*map(np.ndarray.tolist, pareto(xs, ys)), strict=True))
    points = set(zip(xs.tolist(), ys.tolist(), strict=True))
    beaten = {
        (x, y) for x, y in points
        if any(a >= x and b >= y and (a, b) != (x, y) for a, b in points)
    }  # fmt: skip
    assert front == points - beaten


def test_every_column_of_fronts_has_its_axis_labelled(rows):
    fronts = [FRONT | {"arm": "plain", "method": name} for name in "abcdef"]
    labels = [axes.get_xlabel() for axes in fronts_figure(fronts).axes[:6]]
    assert labels == ["", "", *4 * ["UA (%)"]]


def test_several_datasets_have_shapes_of_their_own(rows):
    def legend(some):
        (found,) = gains_figure(gains(some, "unlearning_accuracy")).legends
        return [text.get_text() for text in found.get_texts()]

    assert legend(rows) == ["feasible", "random mask"]
    both = [*rows, *(row | {"model": "cnn"} for row in rows)]
    assert legend(both) == ["feasible", "random mask", "digits, mlp", "digits, cnn"]
