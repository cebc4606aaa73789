"""What happens once, before the first step: a method prepares, and what it made is checked."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import optax

from feasible_jax.methods.method import Method, Prepared, Problem
from feasible_jax.unlearning.placement import lie_like
from feasible_jax.unlearning.step import Fixed


def prepare(
    problem: Problem, method: Method, params: Any, data: dict[str, Any], key: jax.Array
) -> tuple[Any, Fixed]:
    """Let a method prepare its run.

    Args:
      problem: without parameters.
      method: with or without a ``prepare`` of its own.
      params: the parameters before unlearning.
      data: the sets by name.
      key: a random key, independent of those of the steps.

    Returns:
      ``(params, fixed)``: the parameters to begin with, and what the run never changes.

    Raises:
      TypeError: if ``prepare`` returns something other than a ``Prepared``.
      ValueError: if parameters or a mask do not fit the parameters, or are not finite, or if what
        goes with the examples does not fit the sets.

    >>> from feasible_jax.methods import gradient_ascent
    >>> begin, fixed = prepare(Problem(None, None, None), gradient_ascent(), 1.0, {}, None)
    >>> begin, fixed.mask is None
    (1.0, True)
    """
    if method.prepare is None:
        return params, Fixed(params)
    made = _compiled(problem, method.name, method.prepare)(params, data, key)
    begin = params if made.params is None else lie_like(made.params, params)
    _check_params(method, begin, params)
    if made.mask is not None:
        _check_mask(method, made.mask, params)
    if made.beside is not None:
        _check_beside(method, made.beside, data)
    return begin, Fixed(params, made.extras, made.mask, made.beside)


@lru_cache(maxsize=64)
def _compiled(problem: Problem, name: str, make: Callable[..., Prepared]):
    def run(params, data, key):
        made = make(problem._replace(original_params=params), data, key)
        if not isinstance(made, Prepared):
            raise TypeError(
                f"method {name!r}: prepare returned {type(made).__name__}, not a Prepared."
            )
        return made

    return jax.jit(run)


def mask_updates() -> optax.GradientTransformationExtraArgs:
    """Multiplies updates by the extra argument ``method_mask``, where there is one.

    Returns:
      An Optax transformation without state, to be chained after the optimizer.

    >>> import jax.numpy as jnp
    >>> tx = mask_updates()
    >>> tx.update(jnp.ones(2), tx.init(jnp.ones(2)), method_mask=jnp.array([0.0, 1.0]))[0].tolist()
    [0.0, 1.0]
    """

    def update(updates, state, params=None, *, method_mask=None, **extra_args):
        del params, extra_args
        if method_mask is not None:
            # Not a product with 0 alone: an update that is not finite stays out as well.
            mask = jax.tree.map(lambda m, u: m.astype(u.dtype), method_mask, updates)
            updates = jax.tree.map(lambda u, m: jnp.where(m == 0, 0, m * u), updates, mask)
        return updates, state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def _check_params(method: Method, made: Any, params: Any) -> None:
    if jax.tree.structure(made) != jax.tree.structure(params):
        raise ValueError(
            f"method {method.name!r} prepared parameters of another structure, "
            f"{jax.tree.structure(made)}: keep that of the model, {jax.tree.structure(params)}."
        )
    for (path, new), old in zip(_with_path(made), jax.tree.leaves(params), strict=True):
        if (new.shape, new.dtype) != (old.shape, old.dtype):
            raise ValueError(
                f"method {method.name!r} prepared {new.shape} {new.dtype} at {path!r}, where the "
                f"model has {old.shape} {old.dtype}."
            )
        if not jnp.isfinite(new).all():
            raise ValueError(f"method {method.name!r} prepared parameters not finite at {path!r}.")


def _check_mask(method: Method, mask: Any, params: Any) -> None:
    if jax.tree.structure(mask) != jax.tree.structure(params):
        raise ValueError(
            f"method {method.name!r} prepared a mask of another structure than the parameters: "
            f"{jax.tree.structure(mask)}."
        )
    for (path, m), p in zip(_with_path(mask), jax.tree.leaves(params), strict=True):
        if m.shape not in ((), p.shape):
            raise ValueError(
                f"method {method.name!r} prepared a mask of shape {m.shape} at {path!r}: give "
                f"{p.shape} or a scalar."
            )


def _check_beside(method: Method, beside: Any, data: dict[str, Any]) -> None:
    for name, rows in beside.items():
        if name not in data:
            raise ValueError(
                f"method {method.name!r} prepared rows beside {name!r}, which is no set: choose "
                f"from {', '.join(data)}."
            )
        size = jax.tree.leaves(data[name])[0].shape[0]
        for path, leaf in _with_path(rows):
            if leaf.shape[:1] != (size,):
                raise ValueError(
                    f"method {method.name!r} prepared {leaf.shape} at {path!r} beside the {name} "
                    f"set: give one row for each of its {size} examples."
                )


def _with_path(tree: Any) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]
