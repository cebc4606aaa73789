import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from feasible_jax.unlearning import placement
from feasible_jax.unlearning.placement import (
    check_divides,
    layout_of,
    mesh_of,
    on_mesh,
    out_shardings,
)

MESH = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
ROWS, WHOLE = NamedSharding(MESH, P("data")), NamedSharding(MESH, P())


def put(*spec, shape=(8, 2)):
    return jax.device_put(np.ones(shape, np.float32), NamedSharding(MESH, P(*spec)))


def test_the_mesh_is_that_of_any_array():
    assert mesh_of({"a": np.ones(2), "b": jnp.ones(2), "c": 1.0}) is None
    assert mesh_of([np.ones(2), put("data")]) == MESH
    assert mesh_of(np.ones(2), ROWS) == MESH
    one = jax.make_mesh((1,), ("x",), axis_types=(AxisType.Auto,))
    assert mesh_of(jax.device_put(1.0, NamedSharding(one, P()))) is None


def test_two_meshes_are_refused():
    other = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    with pytest.raises(ValueError, match="different meshes"):
        mesh_of([put("data"), jax.device_put(1.0, NamedSharding(other, P()))])


def test_what_lies_elsewhere_is_copied_to_the_mesh():
    there = put("data", "model")
    moved = on_mesh({"there": there, "np": np.ones(3), "key": jax.random.key(0)}, MESH)
    assert moved["there"] is there
    assert moved["np"].sharding == moved["key"].sharding == WHOLE
    alone = jnp.ones(3)
    assert on_mesh([alone], None)[0] is alone


def test_batches_lie_like_the_sets_that_are_spread():
    sets = {"retain": (put("data", "model"), put("data", shape=(8,))), "forget": put()}
    layout = layout_of(sets, None)
    assert layout.batches.spec == P("data")
    assert layout.spread_sets == {"retain"}
    assert layout == layout_of(sets, ROWS)
    assert layout.spread.axes == ("data",)
    assert layout_of({"forget": put(), "retain": jnp.ones(3)}, None) is None
    assert layout_of({"forget": put()}, ROWS).spread_sets == frozenset()
    assert layout_of({"forget": put()}, WHOLE) is None


@pytest.mark.parametrize(
    ("sets", "asked", "message"),
    [
        ({"retain": (put("data"), put())}, None, "leaves of the retain set"),
        ({"retain": put("data"), "forget": put("model")}, None, "sets are spread over different"),
        ({"retain": put("data")}, NamedSharding(MESH, P("model")), "batch_sharding spreads.*data"),
        ({"retain": put("data")}, WHOLE, "batch_sharding spreads batches over None"),
    ],
)
def test_layouts_that_contradict_each_other_are_refused(sets, asked, message):
    with pytest.raises(ValueError, match=message):
        layout_of(sets, asked)


def test_batches_have_to_divide_over_the_mesh():
    layout = layout_of({"retain": put("data")}, None)
    check_divides(layout, batch_size=8)
    check_divides(None, batch_size=7)
    with pytest.raises(ValueError, match=r"batch_size=6.*4 shards"):
        check_divides(layout, batch_size=6)


def test_a_state_comes_back_as_it_went_in_and_one_device_knows_no_meshes():
    state = {"w": put("data", "model"), "step": jax.device_put(0, WHOLE)}
    assert out_shardings(state) == ({"w": state["w"].sharding, "step": WHOLE}, WHOLE)
    assert out_shardings({"w": jnp.ones(2)}) is None


@pytest.mark.parametrize(
    ("held", "parts"),
    [
        ({0: {0}}, [(0, 1)]),
        ({0: {0, 1}, 1: {2, 3}}, [(0, 2), (1, 2)]),
        ({0: {2, 3}, 1: {0, 1}}, [(1, 2), (0, 2)]),
        ({0: {0, 1}, 1: {0, 1}}, [(0, 1), (0, 1)]),
        ({0: {0}, 1: {0}, 2: {1}, 3: {1}}, [(0, 2), (0, 2), (1, 2), (1, 2)]),
    ],
)
def test_processes_with_the_same_shards_have_the_same_part(held, parts):
    assert [placement._part(held, process) for process in held] == parts


def test_shards_that_only_some_have_in_common_make_no_parts():
    with pytest.raises(ValueError, match="some in common and others not"):
        placement._part({0: {0, 1}, 1: {1, 2}}, 0)


def test_one_process_has_the_only_part():
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    for spec in (P(), P("data"), P(("data", "model")), P(None, "model")):
        assert placement.part_of_process(NamedSharding(mesh, spec)) == (0, 1)
