import jax
import jax.numpy as jnp
import pytest

B = 256


def squashed(h):
    return jnp.sum(jnp.tanh(h) ** 2)


def tied_pairs(p, x):
    return squashed(x @ p["a"] @ p["b"]) + squashed(p["b"] @ p["a"])


def shared_chain(p, x):
    return squashed(x @ (p["a"] @ p["b"].T)) + squashed(x @ (p["b"] @ p["c"].T))


WIDE = {"a": (300, 400), "b": (300, 400), "c": (300, 400), "s": (300,)}


@pytest.fixture
def wide(normal):
    return {name: normal(*shape) for name, shape in WIDE.items()}


# The way of each of a, b, c and s; x is (2, 300).
EXPECTED = {
    "dense": (lambda p, x: squashed(x @ p["a"]), {"closed": [0], "unused": [1, 2, 3]}),
    "one position": (lambda p, x: squashed(x[0] @ p["a"]), {"closed": [0], "unused": [1, 2, 3]}),
    "scaled and moved": (
        lambda p, x: squashed(x @ (2 * p["a"].T.reshape(400, 300)).T),
        {"closed": [0], "unused": [1, 2, 3]},
    ),
    "product of entries": (
        lambda p, x: squashed(x @ (p["a"] * p["b"])),
        {"closed": [0, 1], "unused": [2, 3]},
    ),
    "scale": (lambda p, x: squashed(x * p["s"][None]), {"stacked": [3], "unused": [0, 1, 2]}),
    "twice": (
        lambda p, x: squashed(x @ p["a"]) + squashed(x[:1] @ p["a"]),
        {"joint": [0], "unused": [1, 2, 3]},
    ),
    "itself and its square": (
        lambda p, x: squashed(x @ (p["a"] * p["a"])),
        {"joint": [0], "unused": [1, 2, 3]},
    ),
    "a column, broadcast": (
        lambda p, x: squashed(x @ jnp.broadcast_to(p["a"][:, :1], (300, 400))),
        {"joint": [0], "unused": [1, 2, 3]},
    ),
    "a group": (shared_chain, {"joint": [0, 1, 2], "unused": [3]}),
    "solve": (
        lambda p, x: jnp.sum(jnp.linalg.solve(p["a"][:, :300], x[0])),
        {"left_over": [0], "unused": [1, 2, 3]},
    ),
    "stopped": (lambda p, x: squashed(x @ jax.lax.stop_gradient(p["a"])), {"unused": [0, 1, 2, 3]}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_way_of_every_parameter(ways_of, normal, wide, name):
    loss, expected = EXPECTED[name]
    ways = ways_of(loss, wide, normal(B, 2, 300))
    found = {
        "closed": sorted(i for group in ways.closed.values() for i in group),
        "stacked": sorted(ways.stacked),
        "joint": sorted(i for group in ways.joint for i in group),
        "left_over": sorted(ways.left_over),
        "unused": sorted(ways.unused),
    }
    assert found == {way: expected.get(way, []) for way in found}


@pytest.mark.parametrize("name", [n for n in EXPECTED if n != "stopped"])
def test_every_way_equals_the_oracle(assert_oracle, normal, name):
    # A batch that is still too large to stack, of a narrower layer.
    params = {k: normal(*(min(s, 150) for s in shape)) / 9 for k, shape in WIDE.items()}

    def loss(p, x):
        if name == "solve":
            square = p["a"] + 9 * jnp.eye(150, dtype=x.dtype)
            return squashed(jnp.linalg.solve(square, x[0]))
        if name in ("scaled and moved", "a column, broadcast"):
            moved = 2 * p["a"].T if name == "scaled and moved" else p["a"][:, :1] + 0 * x[0, 0]
            return squashed(x @ moved.T) if moved.shape[1] == 150 else squashed(x @ moved)
        return EXPECTED[name][0](p, x)

    assert_oracle(loss, params, normal(40, 2, 150), rtol=2e-5)


def test_parameters_that_share_a_use_are_one_group(ways_of, normal, wide):
    ways = ways_of(shared_chain, wide, normal(B, 2, 300))
    assert sorted(map(sorted, ways.joint)) == [[0, 1, 2]]
    apart = ways_of(
        lambda p, x: squashed(x @ (p["a"] * p["a"])) + squashed(x @ (p["b"] * p["b"])),
        wide,
        normal(B, 2, 300),
    )
    assert sorted(map(sorted, apart.joint)) == [[0], [1]]


def test_every_parameter_has_one_way(ways_of, normal, wide):
    for loss, _ in EXPECTED.values():
        for size in (2, B):
            ways = ways_of(loss, wide, normal(size, 2, 300))
            closed = [i for group in ways.closed.values() for i in group]
            joint = [i for group in ways.joint for i in group]
            assert sorted([*closed, *ways.stacked, *joint, *ways.left_over, *ways.unused]) == [
                0,
                1,
                2,
                3,
            ]
