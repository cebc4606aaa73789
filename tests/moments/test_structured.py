"""`strategy="structured"` against vmapped gradients in float64, over one loss a way of use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments import grad_moments

RNG = np.random.default_rng(0)
B = 12


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def integers(high, *shape, low=0):
    return jnp.asarray(RNG.integers(low, high, shape))


def assert_oracle(loss, params, batch, weights=None, rtol=1e-5, **options):
    take = jax.jit(grad_moments(loss, "structured", third=True, **options))
    got = take(params, batch, weights)
    with jax.enable_x64(True):
        wide = jax.tree.map(
            lambda x: jnp.asarray(np.asarray(x), jnp.float64 if x.dtype == jnp.float32 else None),
            (params, batch),
        )
        want = grad_moments(loss, "vmap", third=True)(*wide, weights)
        want = jax.tree.map(np.asarray, want)
    for power, name in enumerate(("mean", "variance", "third"), start=1):

        def close(a, b, mean, power=power):
            # Where all examples agree, a moment is known to the rounding of the mean's power.
            scale = np.max(np.abs(b)) + np.max(np.abs(mean)) ** power
            bound = rtol * (1 if power < 3 else 10) * scale
            assert a.dtype == jnp.float32
            assert np.max(np.abs(np.asarray(a) - b)) <= bound

        jax.tree.map(close, getattr(got, name), getattr(want, name), want.mean)
    np.testing.assert_allclose(got.count, want.count)


def dense(p, x):
    return jnp.sum(jnp.tanh(x @ p["w"] + p["b"]) ** 2)


def scale(p, x):
    return jnp.sum(jnp.tanh(x * p["s"] - p["b"]) / p["d"])


def attention(p, x):
    q, k = (jnp.einsum("td,hdk->htk", x, p[name]) for name in "qk")
    mixed = jax.nn.softmax(jnp.einsum("htk,hsk->hts", q, k)) @ x
    return jnp.sum(jnp.sin(jnp.einsum("htd,hdo->to", mixed, p["o"])))


def tied(p, x):
    return jnp.sum(jax.nn.log_softmax(jnp.tanh(p["e"][x]) @ p["e"].T)[:, 1])


def recurrent(p, x):
    def step(h, xt):
        h = jnp.tanh(p["w"] @ h + p["u"] @ xt + p["b"])
        return h, h

    return jnp.sum(jax.lax.scan(step, p["h0"], x)[1] ** 2)


def layers(p, x):
    def layer(h, q):
        h = jax.checkpoint(lambda h, q: jnp.tanh(h @ q["w"] + q["b"]) * q["s"])(h, q)
        return h, None

    return jnp.sum(jax.lax.scan(layer, x, p)[0] ** 2)


def nested_scans(p, x):
    def outer(h, q):
        def inner(h, m):
            return jnp.tanh(h @ m @ p["shared"] + q["b"]), None

        return jax.lax.scan(inner, h, q["w"])[0], None

    return jnp.sum(jax.lax.scan(outer, x, p["layers"])[0] ** 2)


def branches(p, x):
    def one():
        return jnp.tanh(p["w"] @ x)

    def other():
        return jnp.sin(p["v"] @ x + p["w"][:, 0])

    return jnp.sum(jax.lax.cond(x[0] > 0, one, other))


def branches_in_scan(p, x):
    def step(h, w):
        return jax.lax.cond(
            h[0] > 0, lambda h: jnp.tanh(w @ h), lambda h: jnp.sin(w.T @ h), h
        ), None

    return jnp.sum(jax.lax.scan(step, x, p)[0] ** 2)


@jax.custom_vjp
def doubled(w, x):
    return jnp.tanh(w @ x)


doubled.defvjp(
    lambda w, x: (doubled(w, x), (w, x)),
    lambda saved, g: (2 * jnp.outer(g, saved[1]), saved[0].T @ g),
)


def weight_norm(p, x):
    norm = jnp.linalg.norm(p["w"], axis=1, keepdims=True)
    return jnp.sum(jnp.tanh((p["g"] * p["w"] / norm) @ x))


def vision_tokens(p, x):
    tokens = jnp.concatenate([p["class"][None], x]) + p["positions"][: len(x) + 1]
    return jnp.sum(jnp.tanh(tokens @ p["w"]))


CASES = {
    "dense": (dense, {"w": normal(3, 4), "b": normal(4)}, normal(B, 3)),
    "dense at many positions": (dense, {"w": normal(3, 4), "b": normal(4)}, normal(B, 5, 3)),
    "scale and shift": (
        scale,
        {"s": normal(3), "b": normal(3), "d": 4 + normal(3)},
        normal(B, 5, 3),
    ),
    "weight first": (lambda p, x: jnp.sum(jnp.sin(p @ x)), normal(4, 3), normal(B, 3, 2)),
    "batched weight": (
        lambda p, x: jnp.sum(jnp.tanh(jnp.einsum("bij,bjk->bik", p, x)) ** 2),
        normal(2, 3, 4),
        normal(B, 2, 4, 5),
    ),
    "two contracted dimensions": (
        lambda p, x: jnp.sum(jnp.tanh(jnp.einsum("hko,thk->to", p, x))),
        normal(2, 3, 4),
        normal(B, 5, 2, 3),
    ),
    "bilinear": (lambda p, x: jnp.sin(x[:4] @ p @ x[4:]), normal(4, 3), normal(B, 7)),
    "attention": (
        attention,
        {"q": normal(2, 3, 4), "k": normal(2, 3, 4), "o": normal(2, 3, 3)},
        normal(B, 5, 3),
    ),
    "vmap inside": (
        lambda p, x: jnp.sum(jax.vmap(lambda r: jnp.tanh(p["w"] @ r + p["b"]))(x)),
        {"w": normal(4, 3), "b": normal(4)},
        normal(B, 5, 3),
    ),
    "large enough for chunks": (
        lambda p, x: jnp.sum(jnp.tanh(x @ p)),
        normal(300, 500) / 10,
        normal(14, 3, 300),
    ),
    "large and tied": (
        lambda p, x: jnp.sum(jnp.tanh(jnp.tanh(x @ p) @ p.T)),
        normal(300, 500) / 20,
        normal(14, 3, 300),
    ),
    "rows, some twice": (
        lambda p, x: jnp.sum(jnp.tanh(p["e"][x] @ p["w"]) ** 2),
        {"e": normal(7, 3), "w": normal(3, 2)},
        integers(7, B, 5),
    ),
    "one row, out of bounds": (
        lambda p, x: jnp.nansum(jnp.tanh(jnp.take(p, x, axis=0)) ** 2),
        normal(7, 3),
        integers(9, B, low=-9),
    ),
    "columns, clipped": (
        lambda p, x: jnp.sum(jnp.tanh(jnp.take(p, x, axis=1, mode="clip"))),
        normal(7, 3),
        integers(9, B, 4),
    ),
    "take_along_axis": (
        lambda p, x: jnp.sum(jnp.sin(jnp.take_along_axis(p, x, axis=1))),
        normal(5, 6),
        integers(5, B, 5, 2),
    ),
    "dynamic slice": (
        lambda p, x: jnp.sum(jnp.sin(jax.lax.dynamic_slice(p, (x, x // 2), (2, 2)))),
        normal(5, 6),
        integers(5, B),
    ),
    "tied embedding": (tied, {"e": normal(7, 3)}, integers(7, B, 5)),
    "casts, transposes, slices": (
        lambda p, x: jnp.sum(jnp.tanh((-p.T.reshape(3, 4)[:, ::2] * 2.0).T @ x)),
        normal(4, 3),
        normal(B, 3),
    ),
    "concatenated weights": (
        lambda p, x: jnp.sum(jnp.tanh(jnp.concatenate([p["q"], p["k"]]) @ x)),
        {"q": normal(4, 3), "k": normal(2, 3)},
        normal(B, 3),
    ),
    "elementwise function of a weight": (
        lambda p, x: jnp.sum(jnp.tanh(jax.nn.softplus(p) @ x)),
        normal(4, 3),
        normal(B, 3),
    ),
    "weight norm": (weight_norm, {"w": normal(4, 3), "g": normal(4, 1)}, normal(B, 3)),
    "cumulated weight": (
        lambda p, x: jnp.sum(jnp.tanh(jnp.cumsum(p, axis=0) @ x)),
        normal(4, 3),
        normal(B, 3),
    ),
    "stop_gradient": (
        lambda p, x: jnp.sum(jnp.tanh(p @ x)) + jnp.sum(jax.lax.stop_gradient(p) @ x),
        normal(4, 3),
        normal(B, 3),
    ),
    "with its own penalty": (
        lambda p, x: jnp.sum(jnp.tanh(p @ x)) + jnp.sum(p**2),
        normal(4, 3),
        normal(B, 3),
    ),
    "parameters alone": (lambda p, x: jnp.sum(p**2), normal(3, 4), normal(B, 5)),
    "unused": (lambda p, x: jnp.sum(x), normal(3, 4), normal(B, 5)),
    "scalar": (lambda p, x: jnp.sin(p * x), jnp.float32(0.7), normal(B)),
    "maximum": (lambda p, x: jnp.sum(jnp.maximum(p, x)), normal(3), normal(B, 3)),
    "where": (
        lambda p, x: jnp.sum(jnp.where(x > 0, p["a"], p["b"] * x)),
        {"a": normal(3), "b": normal(1)},
        normal(B, 3),
    ),
    "class token": (
        vision_tokens,
        {"class": normal(3), "positions": normal(9, 3), "w": normal(3, 2)},
        normal(B, 5, 3),
    ),
    "remat": (
        lambda p, x: jnp.sum(
            jax.checkpoint(lambda w, b, x: jnp.tanh(w.T @ x + b))(p["w"], p["b"], x)
        ),
        {"w": normal(3, 4), "b": normal(4)},
        normal(B, 3),
    ),
    "recurrent": (
        recurrent,
        {"w": normal(4, 4), "u": normal(4, 3), "b": normal(4), "h0": normal(4)},
        normal(B, 6, 3),
    ),
    "scan over layers": (
        layers,
        {"w": normal(5, 3, 3), "b": normal(5, 3), "s": normal(5, 3)},
        normal(B, 4, 3),
    ),
    "nested scans": (
        nested_scans,
        {"layers": {"w": normal(2, 3, 4, 4), "b": normal(2, 4)}, "shared": normal(4, 4)},
        normal(B, 4),
    ),
    "cond": (branches, {"w": normal(4, 3), "v": normal(4, 3)}, normal(B, 3)),
    "cond in scan": (branches_in_scan, normal(5, 3, 3), normal(B, 3)),
    "custom_vjp": (lambda p, x: jnp.sum(doubled(p, x) ** 2), normal(4, 3), normal(B, 3)),
    "large in custom_vjp": (
        lambda p, x: jnp.sum(doubled(p["w"], jnp.tanh(p["v"] * x)) ** 2),
        {"w": normal(100, 60), "v": normal(60)},
        normal(B, 60),
    ),
    "linear solve": (
        lambda p, x: jnp.sum(jnp.linalg.solve(p + 5 * jnp.eye(3), x)),
        normal(3, 3),
        normal(B, 3),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_vmapped_gradients_in_float64(name):
    with jax.numpy_rank_promotion("allow"):
        assert_oracle(*CASES[name], microbatch_size=5)


CONVOLUTIONS = [
    (("NWC", "WIO", "NWC"), {}),
    (("NHWC", "HWIO", "NHWC"), {"window_strides": (2, 1)}),
    (("NCHW", "OIHW", "NCHW"), {"padding": ((1, 2), (0, 1)), "rhs_dilation": (2, 1)}),
    (("NHWC", "HWIO", "NHWC"), {"padding": ((1, 1), (2, 0)), "lhs_dilation": (2, 2)}),
    (("NDHWC", "DHWIO", "NDHWC"), {}),
    (("NHWC", "HWIO", "NHWC"), {"feature_group_count": 2}),
    (("NHWC", "OHWI", "NCHW"), {"feature_group_count": 4}),
]


@pytest.mark.parametrize(("names", "options"), CONVOLUTIONS)
def test_convolutions(names, options):
    rank = len(names[0]) - 2
    options = {"window_strides": (1,) * rank, "padding": "SAME"} | options
    taps, space = iter((3, 2, 2)), iter((5, 6, 4))
    groups = options.get("feature_group_count", 1)
    kernel = {"I": 4 // groups, "O": 8}
    image = {"N": 1, "C": 4}
    w = normal(*[kernel[c] if c in kernel else next(taps) for c in names[1]])
    x = normal(B, *[image[c] if c in image else next(space) for c in names[0]])

    def loss(p, x):
        y = jax.lax.conv_general_dilated(x, p, dimension_numbers=names, **options)
        return jnp.sum(jnp.tanh(y) ** 2)

    assert_oracle(loss, w, x)


@pytest.mark.parametrize(
    "name", ["dense", "dense at many positions", "tied embedding", "recurrent"]
)
def test_padding_and_repeats(name):
    loss, params, batch = CASES[name]
    weights = jnp.asarray([1, 2, 1, 0, 1, 1, 3, 1, 1, 1, 0, 1.0])
    if batch.dtype == jnp.float32:
        batch = batch.at[3].set(jnp.nan)
    with jax.numpy_rank_promotion("allow"):
        assert_oracle(loss, params, batch, weights)


@pytest.mark.parametrize("name", ["dense at many positions", "attention", "scan over layers"])
def test_bfloat16_is_as_good_as_its_gradients(name):
    """Within 1% of float32, or as near as gradients are that were rounded on their way."""
    loss, params, batch = CASES[name]
    narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, batch))
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), narrow)
    with jax.numpy_rank_promotion("allow"):
        got, rounded = (grad_moments(loss, s)(*narrow) for s in ("structured", "vmap"))
        want = grad_moments(loss, "vmap")(*wide)

    def error(a, b):
        return np.linalg.norm(a - b) / np.linalg.norm(b)

    trees = map(jax.tree.leaves, (got, rounded, want))
    for a, of_gradients, b in zip(*trees, strict=True):
        assert a.dtype == jnp.float32
        assert error(a, b) <= max(0.01, 1.5 * error(of_gradients, b))


@pytest.mark.parametrize("name", ["large enough for chunks", "large and tied"])
def test_no_array_holds_a_gradient_an_example(name):
    loss, params, batch = CASES[name]
    with jax.numpy_rank_promotion("allow"):
        compiled = {
            s: jax.jit(grad_moments(loss, s)).lower(params, batch).compile()
            for s in ("structured", "vmap")
        }
    held = {s: c.memory_analysis().temp_size_in_bytes for s, c in compiled.items()}
    stack = 4 * batch.shape[0] * params.size
    assert held["vmap"] >= stack
    assert held["structured"] < 0.75 * stack
