import jax
import jax.numpy as jnp
import numpy as np
import optax

from feasible_jax.feasibility import (
    certify_updates,
    feasible_updates,
    groupwise,
    random_mask,
)
from feasible_jax.feasibility.requirements import (
    described,
    fixed_settings,
    merged_requirements,
)


def test_the_most_telling_kind_is_asked_for_through_any_wrapper():
    tx = optax.chain(
        optax.sgd(0.1),
        optax.masked(feasible_updates("retain", "forget"), True),
        feasible_updates("retain", rule=groupwise("row")),
        feasible_updates("group", rule=random_mask(0.5)),
        certify_updates("other"),
    )
    needs = merged_requirements(tx.init(jnp.zeros(2)))
    assert needs == {"retain": "per_example", "forget": "moments", "group": "nothing"}


def test_transformations_are_described_one_by_one_and_fit_for_json():
    tx = optax.chain(
        feasible_updates("retain", confidence=np.float32(0.5)),
        feasible_updates("a", "b", test="normal"),
        certify_updates("retain", tolerance=0.25),
    )
    about = described(tx.init(jnp.zeros(2)))
    assert about["mask 1, confidence"] == 0.5
    assert type(about["mask 1, confidence"]) is float
    assert (about["mask 2, decrease"], about["mask 2, increase"]) == (["a"], ["b"])
    assert about["certificate 1, tolerance"] == 0.25


def test_schedules_and_arrays_are_no_fixed_settings():
    assert fixed_settings(confidence=jnp.float32(0.9), spending=lambda step: 1, test="hall") == (
        ("test", "hall"),
    )


def test_what_they_were_made_with_does_not_tell_states_apart():
    one, other = (feasible_updates("retain", confidence=c).init(jnp.zeros(2)) for c in (0.9, 0.5))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert jax.tree.structure(one) != jax.tree.structure(feasible_updates("a").init(jnp.zeros(2)))
