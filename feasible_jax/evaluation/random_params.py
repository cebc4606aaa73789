"""A model that never learned: parameters like those of another, drawn at random."""

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.unlearning.task import Params


def random_params(params: Params, seed: int = 0) -> Params:
    """Parameters of the same structure that know nothing: the incompetent teacher of ``zrf``.

    A task has no function that initialises its model, so this goes by shapes, as the usual
    initialisers do: a leaf with two axes or more is drawn from ``N(0, 1 / fan_in)`` (LeCun, 1998),
    ``fan_in`` the product of all axes but the last. A leaf with fewer is a constant, 1 where its
    entries are nearer to 1 on average, as the scale of a normalisation, and 0 elsewhere, as a bias.
    Integers stay as they are. Where a model is only in part in ``params``, as with adapters on
    frozen weights, the rest keeps what it knows: hand ``zrf`` predictions of a teacher of your own.

    Args:
      params: a tree of arrays.
      seed: decides the draw.

    Returns:
      A tree with the same structure, shapes and dtypes.

    >>> drawn = random_params({"kernel": np.full((4, 3), 9.0, np.float32), "bias": np.full(3, 0.2)})
    >>> drawn["kernel"].shape, float(abs(drawn["kernel"]).max()) < 3, drawn["bias"]
    ((4, 3), True, array([0., 0., 0.]))
    """
    rng = np.random.default_rng(seed)

    def drawn(leaf):
        leaf = np.asarray(leaf)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        if leaf.ndim < 2:
            return np.full_like(leaf, float(leaf.astype(np.float64).mean() > 0.5))
        fan_in = np.prod(leaf.shape[:-1])
        return (rng.standard_normal(leaf.shape) / np.sqrt(fan_in)).astype(leaf.dtype)

    return jax.tree.map(drawn, params)
