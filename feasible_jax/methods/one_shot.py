"""One-shot methods: an edit of the parameters, computed once, as the one update of a run."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.methods.method import Method, Prepared, Problem


def one_shot(name: str, edit: Callable[[Problem, dict[str, Any], jax.Array], Any]) -> Method:
    """A method that minimises ``0.5 |theta - theta_edited|^2``.

    Its gradient is ``theta - theta_edited``: one step of SGD with a learning rate of 1 makes the
    whole edit, up to rounding, and a smaller rate that part of it. As an update it may be masked,
    tested and certified like any other.

    Args:
      name: how tables call it.
      edit: ``(problem, data, key) -> edited parameters``, called once with the whole sets.

    Returns:
      A ``Method`` without objectives.

    >>> halve = one_shot("halve", lambda problem, data, key: problem.original_params / 2)
    >>> halve.objectives
    ()
    """

    def prepare(problem: Problem, data: dict[str, Any], key: jax.Array) -> Prepared:
        edited = edit(problem, data, key)
        return Prepared(
            jax.tree.map(lambda e, p: e.astype(p.dtype), edited, problem.original_params)
        )

    def distance(problem: Problem, params, progress):
        del progress
        # In float32, where leaves of different dtypes may be summed.
        squares = jax.tree.map(
            lambda p, e: jnp.sum((p - e) ** 2, dtype=jnp.float32), params, problem.extras
        )
        return jnp.stack(jax.tree.leaves(squares)).sum() / 2

    return Method(name, (), (), distance, prepare=prepare)


def is_one_shot(method: Method) -> bool:
    """Whether a method has no objective to descend, so that one step at a rate of 1 is all of it.

    >>> is_one_shot(one_shot("halve", lambda problem, data, key: problem.original_params / 2))
    True
    """
    return not method.objectives
