from feasible_jax.report.alt_texts import kept_alt, losses_alt, tradeoff_alt
from feasible_jax.report.groups import group_rows


def test_the_trade_off_says_where_everything_ended(run):
    text = tradeoff_alt(group_rows(run.rows))
    assert "Random examples: original 99.6 and 85.8; retrained 90.7 and 86.6;" in text
    assert "gradient ascent, plain, 88.0 and 81.2; gradient ascent, feasible, 92.8 and 86.0" in text
    assert "mask" not in text


def test_controls_are_not_in_the_others_either(run):
    groups = group_rows(run.rows)
    kept, losses = (
        kept_alt(run.curves["kept"], groups),
        losses_alt(run.curves["histograms"], groups),
    )
    assert "Corrupted labels, NegGrad+, feasible: " in kept
    assert "Random examples, original: 0.37." in losses
    assert "mask" not in kept + losses
    assert "plain" not in kept


def test_gaps_in_a_curve_are_skipped(run):
    groups = group_rows(run.rows)
    where = {"scenario": "random", "method": "NegGrad+", "arm": "feasible", "steps": [1]}
    layers = {"a": [None], "b": [], "c": [0.5]}
    assert kept_alt([where | {"layers": layers}], groups).endswith("50 to 50% by layer.")
