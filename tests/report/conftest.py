"""Runs that look like benchmarks: good arms, destroyed ones, and values that are missing."""

import numpy as np
import pytest

from feasible_jax.evaluation import compare
from feasible_jax.report import Run

METHODS = ("gradient ascent", "NegGrad+", "random labels", "l1-sparse")
# Forget, retain, test accuracy and MIA of the models of each scenario.
REFERENCES = {
    "random": {"original": (99.5, 99.1, 85.7, 4.0), "retrained": (90.5, 99.1, 86.6, 14.0)},
    "corrupted_labels": {
        "original": (93.5, 99.4, 78.0, 20.0),
        "retrained": (1.2, 99.1, 86.6, 60.0),
    },
}
ARMS = {
    "random": {
        "gradient ascent": [(88, 90.4, 81.1), (89, 90, 80.5), (90, 93, 82), (92.7, 99.9, 85.9)],
        "NegGrad+": [(91, 96.6, 85.3), (91, 96, 85), (90, 96.5, 85.2), (90.8, 98.7, 85.4)],
        "random labels": [(93, 98.0, 85.0), (93, 97, 84.6), (93, 98, 85.1), (97.5, 99.0, 85.2)],
        "l1-sparse": [(95, 98.2, 85.9), (96, 98.2, 85.9), (96, 98, 85.8), (95.1, 98.3, 86.0)],
    },
    "corrupted_labels": {
        "gradient ascent": [(9.8, 10, 10), (14, 47, 42.5), (8, 30, 28), (3.8, 99.4, 83.9)],
        "NegGrad+": [(8.2, 44.7, 42.9), (9, 40, 39), (7, 60, 57), (6, 98.4, 83.3)],
        "random labels": [(11, 95, 80.0), (12, 95, 79.0), (11, 95, 80.0), (8, 97, 82.1)],
        "l1-sparse": [(60, 98, 79.9), (62, 98, 79.0), (61, 98, 79.8), (58, 98.5, 80.4)],
    },
}
ARM_NAMES = ("plain", "random mask", "sign mask", "feasible")
LAYERS = tuple(
    f"{m}/{w}" for m in ("conv_1", "conv_2", "dense_1", "head") for w in ("bias", "kernel")
)


def metrics(rng, scenario, forget, retain, test, mia, noise, seconds):
    jitter = rng.normal(0, noise, 4) if noise else np.zeros(4)
    forget, retain, test, mia = np.clip(np.array([forget, retain, test, mia]) + jitter, 0, 100)
    row = {
        "forget_accuracy": float(forget),
        "unlearning_accuracy": float(100 - forget),
        "retain_accuracy": float(retain),
        "test_accuracy": float(test),
        "mia_svc": float(mia),
        "mia_auc": 0.5 + float(mia) / 300,
        "seconds": seconds,
    }
    if scenario == "corrupted_labels":
        row["forget_true_accuracy"] = float(test)
    return row


def fall(row, original):
    if row is original:
        return {"test_accuracy_fall_bound": None}
    return {
        "test_accuracy_fall_bound": original["test_accuracy"] - row["test_accuracy"] + 0.37,
    }


def key(scenario, method, arm, seed):
    return {
        "dataset": "fashion_mnist",
        "model": "cnn",
        "scenario": scenario,
        "method": method,
        "arm": arm,
        "feasible": arm.startswith("feasible"),
        "seed": seed,
        "note": None,
    }


def make_rows(seeds=3, methods=METHODS, scenarios=tuple(ARMS), arms=ARM_NAMES):
    rows = []
    for scenario in scenarios:
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            models = {
                name: metrics(rng, scenario, *values, 0.3, 240.0)
                for name, values in REFERENCES[scenario].items()
            }
            for name, row in models.items():
                settings = {"learning_rate": None, "steps": None, "kept": None}
                compared = compare(row, models["retrained"]) | fall(row, models["original"])
                rows.append(key(scenario, name, "reference", seed) | compared | settings)
            for method in methods:
                values = ARMS[scenario].get(method, ARMS[scenario]["NegGrad+"])
                for arm in arms:
                    point = values[ARM_NAMES.index(arm if arm in ARM_NAMES else "feasible")]
                    noise = 0.4 if point[1] > 90 else 4.0
                    row = metrics(rng, scenario, *point, 18.0, noise, 9.0)
                    settings = {
                        "learning_rate": 0.01,
                        "steps": 400 if point[1] > 50 else 40 + seed,
                        "kept": 1.0 if arm == "plain" else 0.31,
                    }
                    compared = compare(row, models["retrained"]) | fall(row, models["original"])
                    rows.append(key(scenario, method, arm, seed) | compared | settings)
    return rows


def make_curves(rows):
    rng, edges = np.random.default_rng(0), np.geomspace(1e-6, 100, 41)
    middles = np.sqrt(edges[1:] * edges[:-1])

    def histogram(center):
        shares = np.exp(-0.5 * ((np.log10(middles) - center) / 1.1) ** 2)
        return (shares / shares.sum()).tolist()

    kept, histograms = [], []
    for row in rows:
        if row["seed"] != 0:
            continue
        where = {name: row[name] for name in ("scenario", "method", "arm")}
        center = -4.0 + 0.05 * (100 - row["forget_accuracy"])
        shares = {"forget": histogram(center), "test": histogram(-2.0)}
        histograms.append(where | {"edges": edges.tolist()} | shares)
        if row["arm"] != "reference":
            level = np.linspace(row["kept"], row["kept"] / 2, 400)
            layers = {
                layer: np.clip(level * (1 + i / 6) + rng.normal(0, 0.05, 400), 0, 1).tolist()
                for i, layer in enumerate(LAYERS)
            }
            kept.append(where | {"steps": list(range(1, 401)), "layers": layers})
    return {"kept": kept, "histograms": histograms}


CONFIG = {
    "dataset": "fashion_mnist",
    "learning_rates": [0.001, 0.003, 0.01, 0.03],
    "steps": 400,
    "batch_size": 128,
    "confidence": 0.75,
    "seeds": [0, 1, 2],
    "fraction": 0.1,
    "epochs": 20,
}


@pytest.fixture(scope="session")
def run():
    """Three seeds, two scenarios, four methods; some models destroyed, some values missing."""
    rows = make_rows()
    curves = make_curves(rows)
    for row in rows:
        if (row["scenario"], row["method"], row["arm"]) == (
            "corrupted_labels",
            "l1-sparse",
            "plain",
        ):
            row["mia_auc"] = None if row["seed"] == 1 else row["mia_auc"]
        if row["method"] == "gradient ascent" and row["steps"] == 41:
            row["note"] = "a loss was not finite after 41 steps"
    return Run(rows, CONFIG, curves, "feasible-jax benchmark --dataset fashion_mnist --seeds 0 1 2")


@pytest.fixture(scope="session")
def one_seed():
    """One seed, one scenario, two methods, no curves."""
    rows = make_rows(
        seeds=1, methods=METHODS[:2], scenarios=("random",), arms=("plain", "feasible")
    )
    return Run(rows, CONFIG | {"seeds": [0]}, {}, "feasible-jax demo")
