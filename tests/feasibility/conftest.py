"""Parameters of every awkward kind, evidence for them, and the slow oracle of the masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.feasibility import (
    budget,
    coordinatewise,
    groupwise,
    projection,
    random_mask,
    sign_agreement,
)

RULES = {
    "coordinatewise": coordinatewise,
    "curvature": lambda: coordinatewise(curvature=0.1),
    "soft": lambda: coordinatewise(soft=True),
    "evidence over time": lambda: coordinatewise(evidence_decay=0.9),
    "budget": lambda: budget(curvature=0.1),
    "projection": projection,
    "leaf": lambda: groupwise("leaf"),
    "row": lambda: groupwise("row"),
    "shared groups": lambda: groupwise(lambda path, leaf: path.split("/")[0]),
    "numbered groups": lambda: groupwise(
        lambda path, leaf: np.arange(leaf.size).reshape(leaf.shape) % 2
    ),
    "sign agreement": sign_agreement,
    "random mask": lambda: random_mask(0.5),
}
# Variants that differ from those above in what they ask of Optax and jit alone.
VARIANTS = {
    "adaptive curvature": lambda: coordinatewise(curvature="adaptive"),
    "all at once": lambda: coordinatewise("adaptive", "benjamini_hochberg", True, 0.9),
    "bonferroni": lambda: coordinatewise(multiplicity="bonferroni"),
    "adaptive budget": budget,
    "A-GEM": lambda: projection(noise_aware=False),
}
ADAPTIVE = ("adaptive curvature", "adaptive budget", "all at once")
LOOKS = [name for name in RULES if name != "random mask"]
TESTS_NOISE = [name for name in LOOKS if name != "sign agreement"]
TAKES_MOMENTS = [
    *("coordinatewise", "curvature", "soft", "evidence over time"),
    *("budget", "projection", "sign agreement"),
]
PRICED = ("curvature", "budget")
MOVES = ("soft", "projection")


def but(names, *others):
    return [name for name in names if name not in others]


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
        "every_rule": [*RULES, *VARIANTS],
        "unlearnt_rule": but([*RULES, *VARIANTS], *ADAPTIVE),
        "any_rule": list(RULES),
        "masking_rule": but(RULES, *MOVES, "budget"),
        "looking_rule": LOOKS,
        "unpriced_rule": but(LOOKS, *PRICED),
        "unitless_rule": but(LOOKS, *PRICED, "soft"),
        "scaleless_rule": but(TESTS_NOISE, *PRICED, *MOVES),
        "testing_rule": TESTS_NOISE,
        "moments_rule": TAKES_MOMENTS,
        "spread_rule": ["coordinatewise", "row", "numbered groups"],
    }.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, [{**RULES, **VARIANTS}[n] for n in names], ids=names)


@pytest.fixture(autouse=True, scope="module")
def compile_quickly(quick_compilation):
    """Programs here are compiled far longer than they run."""
