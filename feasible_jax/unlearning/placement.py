"""Where the arrays of a run live: on one device, or on the mesh that the caller put them on."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from feasible_jax.moments.shards import by_shard, spread_of
from feasible_jax.unlearning.batches import Layout


def mesh_of(tree: Any, batch_sharding: NamedSharding | None = None) -> Mesh | None:
    """The mesh of the arrays of a tree and of batches, None where all live on one device.

    Raises:
      ValueError: if there are two.

    >>> mesh_of(jax.numpy.ones(2)) is None
    True
    """
    shardings = [getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(tree)]
    shardings.append(batch_sharding)
    meshes: set[Any] = {
        s.mesh for s in shardings if isinstance(s, NamedSharding) and s.mesh.size > 1
    }
    if len(meshes) > 1:
        raise ValueError(
            f"parameters and sets lie on different meshes, {', '.join(map(str, meshes))}: put them "
            "on one."
        )
    return meshes.pop() if meshes else None


def on_mesh(tree: Any, mesh: Mesh | None) -> Any:
    """The tree, with whatever lies elsewhere copied to every device of the mesh."""
    whole = whole_on(mesh)
    if whole is None:
        return tree
    # Devices of other processes cannot be put to; a program runs on all.
    copy = jax.jit(lambda leaf: leaf, out_shardings=whole)
    put = partial(jax.device_put, device=whole) if whole.is_fully_addressable else copy

    def on(leaf):
        sharding = getattr(leaf, "sharding", None)
        there = isinstance(sharding, NamedSharding) and sharding.mesh == mesh
        return leaf if there else put(leaf)

    return jax.tree.map(on, tree)


def lie_like(tree: Any, like: Any) -> Any:
    """The tree, where the arrays of another lie; as it is, where those are on no mesh."""
    if mesh_of(like) is None or jax.tree.structure(tree) != jax.tree.structure(like):
        return tree
    return jax.tree.map(lambda leaf, other: jax.device_put(leaf, other.sharding), tree, like)


def whole_on(mesh: Mesh | None) -> NamedSharding | None:
    """The sharding of what every device of a mesh has whole, None without a mesh."""
    return None if mesh is None else NamedSharding(mesh, P())


def layout_of(data: Mapping[str, Any], batch_sharding: NamedSharding | None) -> Layout | None:
    """How batches are to lie: as asked for, or else like the sets that are spread over a mesh.

    Raises:
      ValueError: if sets are spread over other axes than the batches, or than each other.
    """
    found: dict[str, NamedSharding] = {}
    for name, examples in data.items():
        shardings = {_rows_of(leaf) for leaf in jax.tree.leaves(examples)}
        if len(shardings) > 1:
            raise ValueError(
                f"the leaves of the {name} set are spread over different mesh axes: "
                f"{sorted(map(str, shardings))}; spread the examples of all leaves over the same."
            )
        found |= [(name, sharding) for sharding in shardings if sharding is not None]
    asked = set(found.values()) if batch_sharding is None else {_leading(batch_sharding)}
    if len(asked) > 1:
        axes = {name: sharding.spec for name, sharding in found.items()}
        raise ValueError(
            f"sets are spread over different mesh axes, {axes}: spread them over the same, or keep "
            "small ones whole on every device."
        )
    sharding = asked.pop() if asked else None
    other = {name: s.spec for name, s in found.items() if s != sharding}
    if other:
        raise ValueError(
            f"batch_sharding spreads batches over {None if sharding is None else sharding.spec}, "
            f"but sets are spread over {other}: spread them alike, or keep the sets whole."
        )
    return None if sharding is None else Layout(sharding, frozenset(found))


class Part(NamedTuple):
    """A part of every batch and of every set that is spread: the ``index``-th of ``count``.

    Attributes:
      index: from 0.
      count: number of parts.

    >>> part = Part(index=1, count=4)
    >>> list(range(10))[part.index :: part.count]
    [1, 5, 9]
    """

    index: int
    count: int


def part_of_process(batch_sharding: NamedSharding) -> Part:
    """The part of the examples that this process is to read.

    Where every process has devices of its own along the axes of the batch, there are as many parts
    as processes. Processes whose devices share a place on them, as under tensor parallelism over
    several hosts, hold copies of one part, and each has to read the same examples.

    Args:
      batch_sharding: how the examples are spread over the mesh.

    Returns:
      A ``Part``; ``jax.make_array_from_process_local_data`` joins all of them.

    Raises:
      ValueError: if processes hold examples in common but not all of them, which cannot be read in
        parts.

    >>> mesh = jax.make_mesh((1,), ("data",))
    >>> part_of_process(NamedSharding(mesh, P("data")))
    Part(index=0, count=1)
    """
    rows = _leading(batch_sharding)
    if rows is None:
        return Part(0, 1)
    shards = Layout(rows, frozenset()).spread.shards
    held: dict[int, set[int]] = {}
    for device, (index,) in rows.devices_indices_map((shards,)).items():
        held.setdefault(device.process_index, set()).add(index.start or 0)
    return _part(held, jax.process_index())


def _part(held: Mapping[int, set[int]], process: int) -> Part:
    parts = sorted({tuple(sorted(rows)) for rows in held.values()})
    if len({row for part in parts for row in part}) < sum(map(len, parts)):
        raise ValueError(
            f"processes hold these shards of the examples, {dict(held)}: some in common and others "
            "not. Order the devices of the mesh so that processes hold the same or quite others."
        )
    return Part(parts.index(tuple(sorted(held[process]))), len(parts))


def check_divides(layout: Layout | None, **sizes: int) -> None:
    """Raise unless batches of these sizes divide over the mesh."""
    if layout is None:
        return
    for name, size in sizes.items():
        try:
            spread_of(jax.ShapeDtypeStruct((size,), "int32"), layout.batches)
        except ValueError as error:
            raise ValueError(f"{name}={size}: {error}") from error


def on_a_shard(
    layout: Layout | None, look: Callable[[Any, Any], Any]
) -> Callable[[Any, Any], None]:
    """``look(params, examples)`` at what a device of the mesh has of both, traced and not run."""

    def run(params, examples):
        if layout is None:
            look(params, examples)
            return
        shards = layout.spread.shards
        few = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                (shards, *x.shape[1:]), x.dtype, sharding=layout.batches
            ),
            examples,
        )

        def of_shard(params, batch):
            look(params, batch)
            return ()

        jax.eval_shape(by_shard(of_shard, layout.spread, ()), params, few)

    return run


def out_shardings(state: Any) -> Any:
    """Where a step is to leave its state, as it found it, and its record, whole on every device.

    None on one device: the program is then as if there were no meshes.
    """
    whole = whole_on(mesh_of(state))
    return None if whole is None else (jax.tree.map(lambda leaf: leaf.sharding, state), whole)


def _rows_of(leaf: Any) -> NamedSharding | None:
    sharding = getattr(leaf, "sharding", None)
    return _leading(sharding) if isinstance(sharding, NamedSharding) else None


def _leading(sharding: NamedSharding) -> NamedSharding | None:
    """The part of a sharding that is about examples."""
    rows = NamedSharding(sharding.mesh, P(*sharding.spec[:1]))
    return None if rows.is_fully_replicated else rows
