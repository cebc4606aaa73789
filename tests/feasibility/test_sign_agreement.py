import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.feasibility import feasible_updates, sign_agreement
from feasible_jax.moments import GradientMoments


@pytest.mark.parametrize("kind", ["decrease", "increase"])
def test_every_pair_of_signs(kind):
    signs = np.array([-1.0, 0.0, 1.0], np.float32)
    updates, mean = map(np.ravel, np.meshgrid(signs, signs))
    sign = 1 if kind == "decrease" else -1
    tx = feasible_updates(**{kind: "it"}, rule=sign_agreement())
    moments = GradientMoments(jnp.asarray(mean), jnp.full(9, jnp.inf), jnp.float32(1))
    kept, _ = tx.update(jnp.asarray(updates), tx.init(updates), it=moments)
    np.testing.assert_array_equal(kept, np.where(sign * updates * mean <= 0, updates, 0))


def test_noise_and_confidence_do_not_matter():
    updates = -jnp.ones(1)
    mean = jnp.full(1, 1e-6)
    for variance, confidence in ((0.0, 0.5), (1e20, 0.999)):
        tx = feasible_updates("it", rule=sign_agreement(), confidence=confidence)
        kept, _ = tx.update(
            updates, tx.init(updates), it=GradientMoments(mean, jnp.full(1, variance), 2)
        )
        assert kept[0] == -1


def test_signs_of_tiny_numbers_are_still_signs():
    updates, mean = jnp.full(1, 1e-30), jnp.full(1, 1e-30)
    tx = feasible_updates("it", rule=sign_agreement())
    kept, _ = tx.update(updates, tx.init(updates), it=GradientMoments(mean, mean, 2))
    assert kept[0] == 0
