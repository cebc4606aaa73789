"""Batches that are spread over a mesh: on which axes they lie, and work on each shard by itself."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P


class Spread(NamedTuple):
    """Where the examples of a batch lie.

    Attributes:
      mesh: the mesh, concrete or abstract.
      axes: the axes that the examples are spread over, the slowest first.
    """

    mesh: Any
    axes: tuple[str, ...]

    @property
    def shards(self) -> int:
        """The number of parts."""
        return math.prod(self.mesh.shape[axis] for axis in self.axes)

    def sharding(self, *, rows: bool) -> NamedSharding:
        """That of what has a leading axis of examples, or of what is alike on all shards."""
        return NamedSharding(self.mesh, P(self.axes) if rows else P())


def spread_of(batch: Any, batch_sharding: NamedSharding | None = None) -> Spread | None:
    """The mesh axes that the examples of a batch are spread over.

    On an explicit mesh they are part of the batch's type. On an automatic mesh the compiler alone
    knows them while a program is traced, unless the caller says.

    Args:
      batch: a tree of arrays with a leading axis of examples.
      batch_sharding: how the examples are to lie; None to go by the batch's type.

    Returns:
      A ``Spread``; None where the examples lie together, or nobody knows.

    Raises:
      ValueError: if leaves of the batch lie on different axes, or their number of examples is no
        multiple of the number of shards.

    >>> import jax, jax.numpy as jnp
    >>> spread_of(jnp.ones((4, 2))) is None
    True
    >>> mesh = jax.sharding.AbstractMesh((2,), ("data",), axis_types=(AxisType.Auto,))
    >>> spread_of(jnp.ones((4, 2)), NamedSharding(mesh, P("data"))).axes
    ('data',)
    """
    leaves = jax.tree.leaves(batch)
    shardings = [batch_sharding] if batch_sharding else [explicit_sharding(x) for x in leaves]
    found = {_leading(sharding) for sharding in shardings}
    if len(found) > 1:
        raise ValueError(
            "the leaves of the batch are spread over different mesh axes: "
            f"{[None if s is None else s.spec for s in shardings]}; spread the examples of all "
            "leaves over the same."
        )
    (spread,) = found
    if spread is not None and leaves[0].shape[0] % spread.shards:
        raise ValueError(
            f"a batch of {leaves[0].shape[0]} examples does not divide over the {spread.shards} "
            f"shards of mesh axes {spread.axes}: give a multiple."
        )
    return spread


def by_shard(fn: Callable[..., Any], spread: Spread, has_rows: Any) -> Callable[..., Any]:
    """``fn(params, *parts)``, run on every shard of a batch by itself.

    Parameters are whole inside, as far as the batch's axes go: those that are sharded over them
    (fully sharded data parallelism) are gathered first. Other axes, such as those of tensor
    parallelism, stay as they are.

    Args:
      fn: what to run under ``jax.shard_map``; it may communicate over ``spread.axes``.
      spread: where the batch lies.
      has_rows: for each output True where it has a leading axis of examples, False where it is
        alike on all shards; a tree that is a prefix of the outputs.

    Returns:
      A function of the same arguments; ``parts`` are whole batches, or None.

    >>> import jax.numpy as jnp
    >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    >>> spread = Spread(mesh, ("data",))
    >>> total = by_shard(lambda w, x: jax.lax.psum(w * x.sum(), "data"), spread, False)
    >>> float(total(jnp.array(2.0), jnp.arange(4.0)))
    12.0
    """
    rows = P(spread.axes)

    def run(params, *parts):
        program = jax.shard_map(
            fn,
            mesh=spread.mesh if jax.sharding.get_abstract_mesh().empty else None,
            in_specs=(P(), *(rows for _ in parts)),
            out_specs=jax.tree.map(lambda has: rows if has else P(), has_rows),
            axis_names=set(spread.axes),
        )
        return program(jax.tree.map(lambda leaf: _gathered(leaf, spread.axes), params), *parts)

    return run


def automatic(
    fn: Callable[..., Any], like: Any, axes: tuple[str, ...] | None = None
) -> Callable[..., Any]:
    """``fn``, with its insides laid out by the compiler where a mesh is explicit.

    Nothing on the way needs a type then that says where it lies, as products, reshapes, strides and
    sorts of what is spread over an explicit mesh would.

    Args:
      fn: a function of trees of arrays.
      like: how the outputs are to lie, a tree that is a prefix of them: a sharding, or a value
        whose type has one, or else all of it on every device.
      axes: which axes to leave to the compiler; None for all that are explicit.

    Returns:
      A function of the same arguments; ``fn`` itself, in effect, where no argument is spread over
      an explicit mesh.

    >>> import jax.numpy as jnp
    >>> automatic(lambda x: x[::2], 0)(jnp.arange(4)).tolist()
    [0, 2]
    """

    def run(*args):
        shardings = [explicit_sharding(leaf) for leaf in jax.tree.leaves(args)]
        spread = [s for s in shardings if s is not None and any(s.spec)]
        if not spread:
            return fn(*args)
        mesh = spread[0].mesh
        kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
        explicit = tuple(name for name, kind in kinds if kind == AxisType.Explicit)
        whole = NamedSharding(mesh, P())
        out = jax.tree.map(lambda leaf: explicit_sharding(leaf) or whole, like)
        return jax.sharding.auto_axes(fn, axes=axes or explicit, out_sharding=out)(*args)

    return run


def everywhere(tree: Any, spread: Spread) -> Any:
    """Values of few numbers, whole on every device of a mesh."""
    whole = spread.sharding(rows=False)

    def gather(leaf):
        typed = explicit_sharding(leaf) is not None
        return jax.reshard(leaf, whole) if typed else jax.lax.with_sharding_constraint(leaf, whole)

    return jax.tree.map(gather, tree)


def laid_out_like(value: jax.Array, like: Any) -> jax.Array:
    """A value with the sharding that the type of another has; itself where that has none."""
    sharding = explicit_sharding(like)
    return value if sharding is None else jax.reshard(value, sharding)


def explicit_sharding(leaf: Any) -> NamedSharding | None:
    """The sharding that is part of a value's type, None where none is."""
    if isinstance(leaf, NamedSharding):
        return leaf
    sharding = jax.typeof(leaf).sharding if isinstance(leaf, jax.Array) else None
    known = sharding is not None and AxisType.Explicit in sharding.mesh.axis_types
    return sharding if known else None


def _gathered(leaf: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    sharding = explicit_sharding(leaf)
    if sharding is None:  # automatic: the compiler gathers it
        return leaf
    spec = P(*(_without(entry, axes) for entry in sharding.spec))
    return jax.reshard(leaf, NamedSharding(sharding.mesh, spec))


def _without(entry: Any, axes: tuple[str, ...]) -> Any:
    names = entry if isinstance(entry, tuple) else (entry,)
    left = tuple(name for name in names if name is not None and name not in axes)
    return left or None


def _leading(sharding: NamedSharding | None) -> Spread | None:
    if sharding is None or not len(sharding.spec) or not sharding.spec[0]:
        return None
    entry = sharding.spec[0]
    spread = Spread(sharding.mesh, entry if isinstance(entry, tuple) else (entry,))
    return spread if spread.shards > 1 else None
