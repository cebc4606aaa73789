"""Parameters of every awkward kind, evidence for them, and the slow oracle of the masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.feasibility import coordinatewise, groupwise, random_mask, sign_agreement

RULES = {
    "coordinatewise": coordinatewise,
    "leaf": lambda: groupwise("leaf"),
    "row": lambda: groupwise("row"),
    "shared groups": lambda: groupwise(lambda path, leaf: path.split("/")[0]),
    "numbered groups": lambda: groupwise(
        lambda path, leaf: np.arange(leaf.size).reshape(leaf.shape) % 2
    ),
    "sign agreement": sign_agreement,
    "random mask": lambda: random_mask(0.5),
}
LOOKS = [name for name in RULES if name != "random mask"]
TESTS_NOISE = [name for name in LOOKS if name != "sign agreement"]
TAKES_MOMENTS = ["coordinatewise", "sign agreement"]
SHAPES = {"dense": {"kernel": (3, 4), "bias": (4,)}, "scale": ()}


def a_tree(seed, lead=(), dtype=jnp.float32, offset=0.0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=lead + shape) + offset, dtype),
        SHAPES,
        is_leaf=lambda node: isinstance(node, tuple),
    )


@pytest.fixture(scope="session")
def make_tree():
    """``(seed, lead, dtype, offset)``: a parameter tree of random leaves, stacked by ``lead``."""
    return a_tree


def pytest_generate_tests(metafunc):
    """One protocol for all rules: tests ask for them by what they do."""
    for name, names in {
        "any_rule": list(RULES),
        "looking_rule": LOOKS,
        "testing_rule": TESTS_NOISE,
        "moments_rule": TAKES_MOMENTS,
        "spread_rule": ["coordinatewise", "row", "numbered groups"],
    }.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, [RULES[n] for n in names], ids=names)


@pytest.fixture(autouse=True, scope="module")
def compile_quickly(quick_compilation):
    """Programs here are compiled far longer than they run."""
