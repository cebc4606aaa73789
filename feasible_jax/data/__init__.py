"""Datasets by name, and the scenarios that say what of them has to be forgotten."""

from feasible_jax.data.dataset import Dataset
from feasible_jax.data.loading import DATASETS, load_dataset
from feasible_jax.data.scenarios import SCENARIOS, Split, make_split

__all__ = ["DATASETS", "SCENARIOS", "Dataset", "Split", "load_dataset", "make_split"]
