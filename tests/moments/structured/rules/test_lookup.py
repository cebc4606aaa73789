import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments.structured.rules.lookup import compact

B = 6


def squashed(h):
    return jnp.sum(jnp.tanh(h) ** 2)


ROWS = {
    "indexing": lambda p, i: squashed(p[i]),
    "one row": lambda p, i: squashed(p[i[0]]),
    "axis 1": lambda p, i: squashed(jnp.take(p, i, axis=1, mode="clip")),
    "a matrix of rows": lambda p, i: squashed(p[i.reshape(2, 2)] * 0.7),
    "clip": lambda p, i: squashed(jnp.take(p, i, axis=0, mode="clip")),
    "fill": lambda p, i: squashed(jnp.take(p, i, axis=0, mode="fill", fill_value=0.3)),
    "wrap": lambda p, i: squashed(jnp.take(p, i, axis=0, mode="wrap")),
    "in bounds": lambda p, i: squashed(p.at[jnp.clip(i, 0, 6)].get(mode="promise_in_bounds")),
    "entries": lambda p, i: squashed(p[jnp.clip(i, 0, 6), jnp.clip(i, 0, 2)]),
    "part of a row": lambda p, i: squashed(p[i, 1:]),
    "vmap": lambda p, i: squashed(jax.vmap(lambda j: p[j] @ p[0])(i)),
    "twice": lambda p, i: squashed(p[i]) + jnp.sum(jnp.sin(p[i[::-1]] + 1)),
    "transposed": lambda p, i: squashed(p.T[:, i]),
    "row and slope": lambda p, i: squashed((p * 2.0)[i] @ p.T),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(("low", "high"), [(0, 7), (2, 4), (-9, 12)])
def test_indexing(assert_oracle, normal, integers, name, low, high):
    assert_oracle(ROWS[name], normal(7, 3), integers(low, high, B, 4))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int8, jnp.int32])
def test_dtypes_of_indices(assert_oracle, normal, integers, dtype):
    assert_oracle(ROWS["indexing"], normal(7, 3), integers(0, 7, B, 4).astype(dtype))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_table_too_large_to_hold(assert_oracle, normal, integers, weighted):
    weights = jnp.asarray([1.0, 0, 2, 1, 1, 1]) if weighted else None
    ids = integers(0, 20, B, 40).at[:, 0].set(5)
    assert_oracle(ROWS["indexing"], normal(9000, 16), ids, weights)


def test_a_slice_at_a_position_of_the_example(assert_oracle, normal, integers):
    def loss(p, i):
        return squashed(jax.lax.dynamic_slice(p, (i, i // 2), (2, 2)))

    assert_oracle(loss, normal(5, 6), integers(-2, 8, B))


def test_take_along_axis(assert_oracle, normal, integers):
    def loss(p, i):
        return squashed(jnp.take_along_axis(p, i, axis=1))

    assert_oracle(loss, normal(5, 6), integers(0, 6, B, 5, 2))


def read_in_a_scan(p, ids):
    def step(h, i):
        return jnp.tanh(h + p[i] + jax.lax.dynamic_index_in_dim(p, i, keepdims=False)), None

    return squashed(jax.lax.scan(step, jnp.zeros(3, p.dtype), ids)[0])


def one_table_a_step(p, ids):
    def step(h, table_and_id):
        table, i = table_and_id
        return jnp.tanh(h + table[i]), None

    tables = jnp.reshape(p, (5, 3, 3))
    return squashed(jax.lax.scan(step, jnp.zeros(3, p.dtype), (tables, ids % 3))[0])


@pytest.mark.parametrize("loss", [read_in_a_scan, one_table_a_step])
@pytest.mark.parametrize("height", [15, 1500])
def test_inside_a_scan(assert_oracle, normal, integers, loss, height):
    def from_few(p, ids):
        return loss(p[:15], ids)

    assert_oracle(from_few, normal(height, 3), integers(0, 15, B, 5))


@pytest.mark.parametrize("length", [1, 2, 7])
def test_compact_adds_up_repeated_rows(normal, length):
    ids = jnp.asarray(np.random.default_rng(0).integers(0, 4, (3, length)), jnp.int32)
    rows = normal(3, length, 2)
    compacted, sums = jax.jit(compact, static_argnums=2)(ids, rows, 4)
    ids, rows, compacted = np.asarray(ids), np.asarray(rows), np.asarray(compacted)
    for n in range(3):
        real = [int(i) for i in compacted[n] if i < 4]
        assert sorted(real) == sorted(set(ids[n].tolist()))
        for slot, i in enumerate(compacted[n]):
            want = rows[n][ids[n] == i].sum(0) if i < 4 else np.zeros(2)
            np.testing.assert_allclose(sums[n, slot], want, rtol=1e-5, atol=1e-6)
