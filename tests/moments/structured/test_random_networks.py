"""Random small networks: structured float32 against the float64 oracle."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from feasible_jax.moments import grad_moments

WIDTH, POSITIONS, WORDS = 4, 4, 7


def half(*shape):
    return lambda rng: jnp.asarray(rng.normal(size=shape) / 2, jnp.float32)


def near_one(*shape):
    return lambda rng: jnp.asarray(1 + rng.uniform(-0.5, 0.5, shape), jnp.float32)


def convolution(h, k):
    image = h.reshape(1, 2, 2, WIDTH)
    order = ("NHWC", "HWIO", "NHWC")
    out = jax.lax.conv_general_dilated(image, k, (1, 1), "SAME", dimension_numbers=order)
    return out.reshape(POSITIONS, WIDTH)


def depthwise(h, k):
    order = ("NWC", "WIO", "NWC")
    options = {"dimension_numbers": order, "feature_group_count": WIDTH, "rhs_dilation": (2,)}
    return jax.lax.conv_general_dilated(h[None], k, (1,), "SAME", **options)[0]


def normalised(h, scale):
    centred = h - h.mean(axis=1, keepdims=True)
    return (
        centred * jax.lax.rsqrt(jnp.square(centred).mean(axis=1, keepdims=True) + 0.1) * scale[None]
    )


def attention(h, w):
    q, k, v = jnp.einsum("td,sdk->stk", h, w)
    return h + jax.nn.softmax(q @ k.T) @ v


def layers(h, stack):
    w, b = stack
    return jax.lax.scan(lambda h, p: (jnp.tanh(h @ p[0] + p[1][None]), None), h, (w, b))[0]


def recurrent(h, w):
    def step(state, row):
        state = jnp.tanh(w @ state + row)
        return state, state

    return jax.lax.scan(step, jnp.zeros_like(h[0]), h)[1]


def repeated(h, w):
    return jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ w), h)


def choice(h, pair):
    a, b = pair
    return jax.lax.cond(h[0, 0] > 0, lambda h: h @ a, lambda h: jnp.sin(h) @ b + a[0][None], h)


def choices(h, stack):
    def step(h, w):
        return jax.lax.cond(
            h[0, 0] > 0, lambda h: jnp.tanh(h @ w), lambda h: h * w[0][None], h
        ), None

    return jax.lax.scan(step, h, stack)[0]


LAYERS = {
    "dense": (lambda h, w: h @ w, half(WIDTH, WIDTH)),
    "dense, transposed": (lambda h, w: h @ w.T, half(WIDTH, WIDTH)),
    "dense over positions": (lambda h, w: w @ h, half(POSITIONS, WIDTH)),
    "dense on everything": (
        lambda h, w: (w @ h.reshape(-1)).reshape(h.shape),
        half(POSITIONS * WIDTH, POSITIONS * WIDTH),
    ),
    "grouped": (lambda h, w: jnp.einsum("ti,tio->to", h, w), half(POSITIONS, WIDTH, WIDTH)),
    "moved": (
        lambda h, w: h @ -(w.reshape(WIDTH, 2, WIDTH)[:, 1].T * 0.7)[::-1],
        half(WIDTH * 2, WIDTH),
    ),
    "softplus": (lambda h, w: h @ jax.nn.softplus(w), half(WIDTH, WIDTH)),
    "reciprocal": (lambda h, w: h @ (1 / w), near_one(WIDTH, WIDTH)),
    "weight norm": (
        lambda h, w: h @ (w / jnp.linalg.norm(w, axis=0, keepdims=True)),
        half(WIDTH, WIDTH),
    ),
    "joined": (
        lambda h, p: h @ jnp.concatenate(p, axis=1), (half(WIDTH, 1), half(WIDTH, WIDTH - 1))
    ),
    "low rank": (lambda h, p: h @ (p[0] @ p[1]), (half(WIDTH, 2), half(2, WIDTH))),
    "tied": (lambda h, w: jnp.tanh(h @ w) @ w.T, half(WIDTH, WIDTH)),
    "convolution": (convolution, half(3, 3, WIDTH, WIDTH)),
    "depthwise": (depthwise, half(2, 1, WIDTH)),
    "bias": (lambda h, b: h + b[None], half(WIDTH)),
    "threshold": (lambda h, b: h - b[None], half(WIDTH)),
    "positions": (lambda h, b: h + b, half(POSITIONS, WIDTH)),
    "scale": (lambda h, s: h * s[None], near_one(WIDTH)),
    "divisor": (lambda h, s: h / s[None], near_one(WIDTH)),
    "scalar": (lambda h, s: h * s, near_one()),
    "lookup": (lambda h, t: h + t[jnp.clip(jnp.floor(4 * h[:, 0] + 3), 0, 6).astype(jnp.int32)],
               half(WORDS, WIDTH)),
    "normalised": (normalised, near_one(WIDTH)),
    "attention": (attention, half(3, WIDTH, WIDTH)),
    "class token": (lambda h, c: jnp.concatenate([c[None], h[1:]]), half(WIDTH)),
    "layers": (layers, (half(3, WIDTH, WIDTH), half(3, WIDTH))),
    "recurrent": (recurrent, half(WIDTH, WIDTH)),
    "repeated": (repeated, half(WIDTH, WIDTH)),
    "choice": (choice, (half(WIDTH, WIDTH), half(WIDTH, WIDTH))),
    "choices": (choices, half(3, WIDTH, WIDTH)),
    "remat": (lambda h, w: jax.checkpoint(lambda h, w: jnp.sin(jnp.tanh(h @ w) @ w))(h, w),
              half(WIDTH, WIDTH)),
    "decay": (lambda h, w: h @ w + jnp.sum(w**2) / 9, half(WIDTH, WIDTH)),
    "stopped": (lambda h, w: h @ w + jax.lax.stop_gradient(w)[0][None], half(WIDTH, WIDTH)),
}  # fmt: skip
SMOOTH = {"itself": lambda h: h, "tanh": jnp.tanh, "gelu": jax.nn.gelu, "silu": jax.nn.silu}

networks = st.lists(
    st.tuples(st.sampled_from(sorted(LAYERS)), st.sampled_from(sorted(SMOOTH))),
    min_size=3,
    max_size=5,
)
# The first layer's parameters may come again in the last: one more use of each.
draws = given(
    network=networks,
    again=st.booleans(),
    size=st.integers(2, 9),
    seed=st.integers(0, 2**32 - 1),
    weighted=st.booleans(),
)
quick = settings(
    max_examples=12,
    deadline=None,
    derandomize=False,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="session")
def oracle(wide_oracle, moment_errors):
    return wide_oracle, moment_errors


def check_network(oracle, network, again, size, seed, weighted):
    wide_oracle, moment_errors = oracle
    rng = np.random.default_rng(seed)
    pieces = [LAYERS[name] for name, _ in network]
    params = [jax.tree.map(lambda make: make(rng), makers) for _, makers in pieces]
    smooth = [SMOOTH[name] for _, name in network]

    def loss(params, x):
        h = x
        for (layer, _), squash, p in zip(pieces, smooth, params, strict=True):
            h = squash(layer(h, p))
        if again:
            h = pieces[0][0](h, params[0])
        return jnp.mean(jnp.tanh(h - 0.3) ** 2)

    batch = jnp.asarray(rng.normal(size=(size, POSITIONS, WIDTH)), jnp.float32)
    weights = jnp.asarray(rng.integers(1, 3, size).astype(np.float32)) if weighted else None
    want = wide_oracle(loss, params, batch, weights, third=False)

    def errors(strategy):
        take = jax.jit(grad_moments(loss, strategy))
        return moment_errors(take(params, batch, weights), want)

    found = errors("structured")
    if not max(found.values()) < 1e-5:
        # A network may amplify rounding, whoever differentiates it.
        others = errors("vmap")
        assert all(found[name] < max(1e-5, 4 * others[name]) for name in found), (found, others)


@quick
@draws
def test_random_networks(oracle, network, again, size, seed, weighted):
    check_network(oracle, network, again, size, seed, weighted)


@pytest.mark.slow
@settings(quick, max_examples=200)
@draws
def test_many_random_networks(oracle, network, again, size, seed, weighted):
    check_network(oracle, network, again, size, seed, weighted)


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_twice(oracle, name):
    check_network(oracle, [(name, "tanh"), ("dense", "itself")], True, 5, 0, False)
