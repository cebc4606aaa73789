import json

import pytest

from feasible_jax.evaluation import compare, evaluate


def test_the_retrained_model_beside_itself_is_ideal(memorised):
    row = evaluate(memorised, memorised.retrained, seconds=4.0)
    compared = compare(row, row)
    assert compared["avg_gap"] == 0.0
    assert compared["tow"] == 1.0
    assert compared["rte_ratio"] == 1.0


def test_the_original_model_has_a_gap(memorised):
    original = evaluate(memorised, memorised.params, seconds=0.0)
    retrained = evaluate(memorised, memorised.retrained, seconds=4.0)
    compared = compare(original, retrained)
    assert compared["avg_gap"] > 10
    assert compared["tow"] < 0.8
    assert compared["rte_ratio"] == 0.0
    assert {name: compared[name] for name in original} == original
    json.dumps(compared, allow_nan=False)


def test_unknown_times_are_none_and_the_rows_stay_as_they_were(memorised):
    row = evaluate(memorised, memorised.retrained)
    before = dict(row)
    compared = compare(row, row)
    assert compared["rte_minutes"] is None
    assert compared["rte_ratio"] is None
    assert row == before


def test_a_row_without_the_attack_is_refused(memorised):
    row = evaluate(memorised, memorised.retrained)
    del row["mia_svc"]
    with pytest.raises(KeyError, match="mia_svc"):
        compare(row, row)
