"""Which layers of a model come last: counted in the order in which they meet the example."""

from collections.abc import Callable, Iterable
from typing import Any

import jax

from feasible_jax.moments.structured.program import Constant, Op, Scope, trace_program

Layers = int | tuple[str, ...]


def check_layers(layers: Any) -> None:
    """Raise a ``ValueError`` unless ``layers`` is a number of layers or a tuple of their paths."""
    named = isinstance(layers, tuple) and layers and all(isinstance(name, str) for name in layers)
    counted = isinstance(layers, int) and not isinstance(layers, bool) and layers >= 1
    if not named and not counted:
        raise ValueError(
            f"layers={layers!r}: give how many of the last layers, at least 1, or a tuple of the "
            "paths of layers, as in ('head',)."
        )


def in_layers(layers: Layers, loss_fn: Callable, params: Any, examples: Any) -> Any:
    """Which leaves belong to the layers wanted.

    A layer is what holds arrays directly: ``dense_1`` with its kernel and its bias, ``block/conv``,
    or the whole tree where that is a flat dictionary of arrays. Layers come in the order in which
    they first meet the example in the loss, whatever their names; one that is used again later, as
    tied embeddings are, counts where it is used first, and one that is never used counts first.

    Args:
      layers: how many of the last layers; or the paths of the layers or of their parents, as in
        ``("head", "block_4_2")``.
      loss_fn: ``(params, example) -> scalar``, the loss of ONE example.
      params: the parameters, arrays or tracers.
      examples: a tree of arrays with a leading axis of examples.

    Returns:
      A tree of Python booleans with the structure of the parameters.

    Raises:
      ValueError: if there are fewer layers, or a path leads to none.

    >>> import jax.numpy as jnp
    >>> params = {"a_head": {"w": jnp.ones(2)}, "body": {"w": jnp.ones((2, 3))}}
    >>> loss = lambda p, x: p["a_head"]["w"] @ jnp.tanh(p["body"]["w"] @ x)
    >>> in_layers(1, loss, params, jnp.ones((5, 3)))
    {'a_head': {'w': True}, 'body': {'w': False}}
    """
    leaves, structure = jax.tree.flatten_with_path(params)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    parents = [path.rpartition("/")[0] for path in paths]
    order = list(dict.fromkeys(parents[i] for i in order_of_use(loss_fn, params, examples)))
    if isinstance(layers, int):
        if layers > len(order):
            raise ValueError(f"layers={layers}, but the model has {len(order)}: {_listed(order)}.")
        wanted = set(order[-layers:])
        return structure.unflatten([parent in wanted for parent in parents])
    for name in layers:
        if not any(_leads_to(name, path) for path in paths):
            raise ValueError(f"layers names {name!r}, which is none of {_listed(order)}.")
    chosen = [any(_leads_to(name, path) for name in layers) for path in paths]
    return structure.unflatten(chosen)


def order_of_use(loss_fn: Callable, params: Any, examples: Any) -> list[int]:
    """The leaves of the parameters, by number, in the order in which they first meet the example.

    A leaf meets the example in the first operation that takes a value made of it and a value made
    of the example; casts, reshapes and products of parameters beforehand do not count.

    >>> import jax.numpy as jnp
    >>> loss = lambda p, x: p["a"] * (p["z"] @ x) + jnp.sum(p["a"])
    >>> order_of_use(loss, {"a": jnp.ones(()), "z": jnp.ones(3)}, jnp.ones((5, 3)))
    [1, 0]
    """
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    program = trace_program(loss_fn, shapes, examples)
    inputs = program.scope.inputs
    made_of: dict[int, frozenset[int] | None] = {
        value: frozenset([i]) if i < program.num_params else None for i, value in enumerate(inputs)
    }
    met: dict[int, None] = {}
    _walk(program.scope, made_of, met)
    unused = [i for i in range(program.num_params) if i not in met]
    return [*unused, *met]


def _walk(scope: Scope, made_of: dict[int, frozenset[int] | None], met: dict[int, None]) -> None:
    """Note what meets the example in a scope; ``made_of`` is None for what the example made."""
    for op in scope.ops:
        sources = [_source(atom, made_of) for atom in op.inputs]
        params = [i for source in sources if source for i in sorted(source)]
        out = None if None in sources else frozenset(params)
        if out is None:
            for body in op.bodies:
                made_of.update(zip(body.inputs, _entering(op, sources), strict=True))
                _walk(body, made_of, met)
            met.update(dict.fromkeys(params))
        made_of.update(dict.fromkeys(op.outputs, out))


def _source(atom: Any, made_of: dict[int, frozenset[int] | None]) -> frozenset[int] | None:
    return frozenset() if isinstance(atom, Constant) else made_of[atom]


def _entering(op: Op, sources: list) -> Iterable:
    return sources[1:] if op.name == "cond" else sources


def _leads_to(name: str, path: str) -> bool:
    return path == name or path.startswith(f"{name}/")


def _listed(order: list[str]) -> str:
    return ", ".join(name or "the parameters as a whole" for name in order)
