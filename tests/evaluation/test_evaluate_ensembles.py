import json

import jax
import numpy as np
import pytest

from feasible_jax.evaluation import (
    ensemble_margins,
    evaluate_ensembles,
    forgetting_quality,
    klom,
    u_lira,
)


@pytest.fixture(scope="module")
def kinds(memorised):
    """Models of each kind that differ by noise, as retraining with another seed would make them."""
    rng = np.random.default_rng(0)

    def noisy(params):
        noise = rng.normal(size=(6, *params.shape)).astype(np.float32)
        return np.asarray(params) + 0.02 * noise

    return {
        "original": noisy(memorised.params),
        "retrained": noisy(memorised.retrained),
        "reference": noisy(memorised.retrained),
    }


def test_each_number_is_of_the_set_that_it_names(memorised, kinds):
    row = evaluate_ensembles(memorised, kinds["original"], kinds["retrained"])
    forget, test = (
        [
            ensemble_margins(memorised.predict_fn, kinds[kind], getattr(memorised, name))
            for kind in ("original", "retrained")
        ]
        for name in ("forget", "test")
    )
    attack = u_lira(*forget)
    assert row == {
        "u_lira": attack.accuracy,
        "u_lira_auc": attack.auc,
        "forgetting_quality": forgetting_quality(*forget).score,
        "forget_klom": klom(*forget).mean(),
        "test_klom": klom(*test).mean(),
    }
    assert json.loads(json.dumps(row)) == row


def test_the_original_models_are_caught_and_retrained_ones_are_not(memorised, kinds):
    original, reference = (
        evaluate_ensembles(memorised, kinds[kind], kinds["retrained"])
        for kind in ("original", "reference")
    )
    assert original["u_lira"] > 95 > 60 > reference["u_lira"] > 40
    assert original["forgetting_quality"] < reference["forgetting_quality"]
    assert original["forget_klom"] > 1.3 * reference["forget_klom"]


def test_the_same_ensemble_is_ideal(memorised, kinds):
    members = jax.tree.map(lambda leaf: leaf[:3], kinds["retrained"])
    row = evaluate_ensembles(memorised, members, members)
    assert (row["u_lira"], row["u_lira_auc"], row["forgetting_quality"]) == (50.0, 0.5, 1.0)
    assert row["forget_klom"] == pytest.approx(0, abs=1e-3)
