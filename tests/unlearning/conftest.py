"""Linear regression, on which every step is known by hand."""

import numpy as np
import pytest


def squared(params, example):
    inputs, target = example
    return 0.5 * (inputs @ params["w"] + params["b"] - target) ** 2


@pytest.fixture(autouse=True, scope="module")
def compile_quickly(quick_compilation):
    """Programs here are compiled far longer than they run."""


@pytest.fixture
def loss():
    return squared


@pytest.fixture
def params():
    return {"b": np.float32(0.5), "w": np.array([1.0, -2.0, 0.25], np.float32)}


@pytest.fixture
def sets():
    rng = np.random.default_rng(3)

    def examples(n):
        return rng.normal(size=(n, 3)).astype(np.float32), rng.normal(size=n).astype(np.float32)

    return {"forget": examples(7), "retain": examples(30)}
