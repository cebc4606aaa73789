"""The whole Optax transformation of a run, and the state it begins with."""

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from feasible_jax.unlearning.prepare import mask_updates


@lru_cache(maxsize=64)
def chained(
    optimizer: optax.GradientTransformation,
    feasibility: optax.GradientTransformation | None,
    masked: bool,
) -> optax.GradientTransformationExtraArgs:
    """The whole transformation; the same object for the same parts, so that jit recognises it.

    Args:
      optimizer: sees the method's gradient.
      feasibility: comes last in the chain, or None.
      masked: whether the method prepares a mask, which then stands before it.

    >>> sgd = optax.sgd(0.1)
    >>> chained(sgd, None, False) is chained(sgd, None, False)
    True
    """
    parts = [optimizer]
    if masked:
        parts.append(mask_updates())
    if feasibility is not None:
        parts.append(feasibility)
    return optax.with_extra_args_support(parts[0] if len(parts) == 1 else optax.chain(*parts))


def init_state(
    tx: optax.GradientTransformation, params: Any, hyperparams: Mapping[str, float]
) -> Any:
    """The first state of a transformation, all arrays, with injected hyper-parameters set.

    Args:
      tx: the transformation.
      params: the parameters.
      hyperparams: values by name, for what was made by ``optax.inject_hyperparams``; they take the
        dtype that the hyper-parameter has.

    Raises:
      ValueError: for a name that is not injected, or that comes from a schedule.

    >>> tx = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)
    >>> state = init_state(tx, jnp.zeros(2), {"learning_rate": 0.25})
    >>> float(state.hyperparams["learning_rate"])
    0.25
    """
    state = tx.init(params)
    for name, value in hyperparams.items():
        state = _with_hyperparam(state, name, value)
    return jax.tree.map(jnp.asarray, state)


def _with_hyperparam(state: Any, name: str, value: float) -> Any:
    # Counters, momenta and parameters may bear the same name: set what was injected alone.
    injected = partial(_lies_in, "hyperparams")
    found = optax.tree_utils.tree_get_all_with_path(state, name, injected)
    if not found:
        raise ValueError(
            f"hyperparams names {name!r}, which the optimizer does not have: make it with "
            f"optax.inject_hyperparams(optax.sgd)({name}=...), for instance."
        )
    scheduled = partial(_lies_in, "hyperparams_states")
    if optax.tree_utils.tree_get_all_with_path(state, name, scheduled):
        raise ValueError(
            f"hyperparams names {name!r}, which the optimizer takes from a schedule: inject a "
            "number to be able to set it."
        )
    array = jnp.asarray(value, found[0][1].dtype)
    return optax.tree_utils.tree_set(state, injected, **{name: array})


def _lies_in(field: str, path: tuple, value: Any) -> bool:
    del value
    return len(path) > 1 and getattr(path[-2], "name", None) == field
