"""A suite whose figures can be added up by hand."""

import pytest

GAINS = {"feasible": 4.0, "random mask": -1.0}


def row(scenario, method, arm, seed, **figures):
    about = {"dataset": "digits", "model": "mlp", "scenario": scenario, "method": method}
    defaults = {
        "arm": arm, "seed": seed, "unlearning_accuracy": 10.0 + seed, "test_accuracy": 90.0,
        "test_accuracy_fall": 0.25, "avg_gap": 2.0, "steps": 10, "rte_ratio": 0.1,
        "step_seconds": 0.1, "run_seconds": 2.0,
    }  # fmt: skip
    return about | defaults | figures


def suite():
    """Two scenarios and methods, five seeds; the second method gains twice as much."""
    rows = []
    for scenario in ("random", "class"):
        rows += [row(scenario, r, "reference", 0, avg_gap=g) for r, g in
                 (("original", 5.0), ("retrained", 0.0))]  # fmt: skip
        for factor, method in ((1, "NegGrad+"), (2, "SalUn")):
            for seed in range(5):
                rows.append(row(scenario, method, "plain", seed))
                for arm, gain in GAINS.items():
                    ua = 10.0 + seed + factor * gain
                    figures = {"unlearning_accuracy": ua, "avg_gap": 2.0 - gain / 4}
                    figures |= {"step_seconds": 0.2, "run_seconds": 3.0}
                    rows.append(row(scenario, method, arm, seed, **figures))
    return rows


@pytest.fixture
def rows():
    return suite()
