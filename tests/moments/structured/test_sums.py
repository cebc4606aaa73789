from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments.structured.sums import (
    chunk_size,
    chunked_sums,
    lookup_sums,
    squared_sums,
    stacked_sums,
)

WEIGHTS = [None, [1, 1, 1, 1, 1, 1, 1], [0, 0, 2, 1, 0, 3, 0], [0, 0, 0, 0, 0, 1, 0], [0] * 7]


def in_float64(grads, weights=None):
    """Mean, and sums of squared and of cubed deviations."""
    grads = np.asarray(grads).astype(np.float64)
    w = np.ones(len(grads)) if weights is None else np.asarray(weights, np.float64)
    each = w.reshape((-1,) + (1,) * (grads.ndim - 1))
    mean = (each * grads).sum(0) / max(w.sum(), 1)
    deviations = grads - mean
    return mean, (each * deviations**2).sum(0), (each * deviations**3).sum(0)


def factors(seed=0, n=7, groups=2, inputs=5, outputs=3):
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(n, groups, inputs)), rng.normal(size=(n, groups, outputs))
    return jnp.asarray(left, jnp.float32), jnp.asarray(right, jnp.float32)


def dense(left, right):
    return np.einsum("ngc,ngf->ngcf", np.float64(left), np.float64(right))


def chunked(left, right, weights, third, chunk):
    def outer(rows):
        return jnp.einsum("ngc,ngf->ngcf", *rows)

    return chunked_sums(outer, (left, right), weights, chunk, third)


def stacked(left, right, weights, third):
    return stacked_sums(jnp.einsum("ngc,ngf->ngcf", left, right), weights, third)


FORMS = {"squared": squared_sums, "stacked": stacked} | {
    f"chunks of {k}": partial(chunked, chunk=k) for k in (1, 2, 3, 4, 7)
}
EXACT = [name for name in FORMS if name != "squared"]


@cache
def compiled(form, third):
    return jax.jit(partial(FORMS[form], third=third))


def sums_of(form, left, right, weights=None, third=True):
    w = None if weights is None else jnp.asarray(weights, jnp.float32)
    return jax.tree.map(np.asarray, compiled(form, third)(left, right, w))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_every_form_equals_float64(form, weights):
    left, right = factors()
    sums = sums_of(form, left, right, weights)
    for got, want in zip(sums, in_float64(dense(left, right), weights), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_without_third_there_are_no_cubes(form):
    assert sums_of(form, *factors(), third=False).cubes is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "scales", [(1e15, 1), (1e-25, 1), (1, 1e15), (1e-12, 1e-12), (1e15, 1e-25)]
)
def test_huge_and_tiny_gradients_are_never_certain(form, scales):
    left, right = factors()
    left, right = left * scales[0], right * scales[1]
    mean, squares, _ = in_float64(dense(left, right))
    sums = sums_of(form, left, right, third=False)
    np.testing.assert_allclose(sums.mean, mean, rtol=1e-4, atol=1e-6 * abs(mean).max())
    assert np.all(sums.squares > 0)
    assert np.all(np.isfinite(sums.squares))
    assert np.all(sums.squares > 0.999 * squares)
    normal = squares > 2000 * float(np.finfo(np.float32).tiny)
    np.testing.assert_allclose(sums.squares[normal], squares[normal], rtol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_too_small_for_float32_are_zero(form):
    left, right = factors()
    sums = sums_of(form, left * 1e-30, right * 1e-30, third=False)
    assert np.all(np.abs(sums.mean) < 1e-37)
    assert np.all(sums.squares < 1e-30)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_every_size_in_one_layer_are_never_certain(form):
    left, right = factors(inputs=30)
    left = left * 10.0 ** -np.arange(30, dtype=np.float32)[None, None]
    _, squares, _ = in_float64(dense(left, right))
    sums = sums_of(form, left, right, third=False)
    assert np.all(sums.squares > 0.999 * squares)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weights", [None, [1, 2, 1, 0, 1, 1, 1]])
def test_equal_gradients_have_no_variance_beyond_rounding(form, weights):
    left, right = (jnp.broadcast_to(f[:1], f.shape) for f in factors())
    sums = sums_of(form, left, right, weights)
    room = 1e-4 if form == "squared" else 1e-12
    assert np.all(sums.squares <= room * dense(left, right)[0] ** 2)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_zero_have_no_variance_at_all(form):
    left, right = factors()
    sums = sums_of(form, left.at[:, :, 1].set(0), right)
    for values in sums:
        assert np.all(values[:, 1] == 0)


def offset_factors(ratio):
    """Gradients whose mean is ``ratio`` standard deviations."""
    left, right = factors(n=16)
    return 1 + left / ratio, 1 + right / ratio


@pytest.mark.parametrize("form", EXACT)
def test_a_mean_far_above_the_deviation_cancels_nothing(form):
    left, right = offset_factors(1e4)
    grads = np.einsum("ngc,ngf->ngcf", left, right)  # rounded as the sums see them
    _, squares, _ = in_float64(grads)
    np.testing.assert_allclose(sums_of(form, left, right).squares, squares, rtol=1e-2)


@pytest.mark.parametrize("ratio", [1e1, 1e2, 1e3, 1e4, 1e6])
def test_squared_never_understates(ratio):
    left, right = offset_factors(ratio)
    mean, squares, _ = in_float64(dense(left, right))
    got = sums_of("squared", left, right).squares
    # Rounding of the raw sum is all that may be missing, and that much is always added back.
    assert np.all(got > 0.5 * np.minimum(squares, 16 * mean**2))
    assert np.all(got >= 16 * mean**2 * 2.0**-21)
    np.testing.assert_allclose(got, squares, rtol=1e-2, atol=1e-5 * 16 * np.max(mean**2))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_example_spoils_only_what_it_touches(form, bad):
    left, right = factors()
    clean = in_float64(dense(left, right))
    left = left.at[3, 1, 2].set(bad)
    sums = sums_of(form, left, right)
    touched = np.zeros((2, 5, 3), bool)
    touched[1, 2] = True
    for got, want in zip(sums, clean, strict=True):
        assert not np.any(np.isfinite(np.asarray(got)[touched]))
        np.testing.assert_allclose(got[~touched], want[~touched], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_factors_accumulate_in_float32(form):
    left, right = (f.astype(jnp.bfloat16) for f in factors(n=7))
    wide = jax.jit(partial(FORMS["squared"], weights=None, third=True))(left, right)
    assert {values.dtype for values in wide} == {jnp.dtype(jnp.float32)}
    grads = dense(left.astype(jnp.float32), right.astype(jnp.float32))
    np.testing.assert_allclose(wide.mean, in_float64(grads)[0], rtol=1e-4, atol=1e-5)


lookups = jax.jit(lookup_sums, static_argnums=(2, 4))


def table_gradients(ids, rows, height):
    dense_rows = np.zeros((len(ids), height, rows.shape[-1]))
    for n, here in enumerate(ids):
        for t, i in enumerate(here):
            if i < height:
                dense_rows[n, i] += rows[n, t]
    return dense_rows


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_lookups_equal_float64(weights):
    rng = np.random.default_rng(0)
    ids = np.stack([rng.permutation(6)[:3] for _ in range(7)])  # 5 is none of the rows
    rows = rng.normal(size=(7, 3, 2)).astype(np.float32)
    w = None if weights is None else jnp.asarray(weights, jnp.float32)
    sums = lookups(jnp.asarray(ids), jnp.asarray(rows), 5, w, True)
    want = in_float64(table_gradients(ids, rows, 5), weights)
    for got, expected in zip(sums, want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e15, 1e-25, 1e-30])
def test_lookups_of_huge_and_tiny_gradients_are_never_certain(scale):
    rows = jnp.full((4, 1, 2), scale, jnp.float32) * jnp.array([[[1.0, 2]]])
    ids = jnp.array([[0], [1], [1], [2]])
    sums = lookups(ids, rows, 4, None, False)
    assert np.all((sums.squares[:3] > 0) & np.isfinite(sums.squares[:3]))
    assert np.all(sums.squares[3] == 0)


def test_chunks_of_several_gradients_at_once():
    left, right = factors()
    both = chunked_sums(lambda rows: {"a": rows[0], "b": rows[1]}, (left, right), None, 3, True)
    for name, grads in (("a", left), ("b", right)):
        for got, want in zip(both[name], in_float64(grads), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 5, 64, 1000])
@pytest.mark.parametrize("entries", [0, 1, 10**4, 10**7, 10**10])
def test_chunks_hold_at_least_one_and_at_most_all(size, entries):
    assert 1 <= chunk_size(size, entries) <= size


@pytest.mark.parametrize("weights", [None, [1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]])
def test_equal_gradients_too_large_to_square_have_no_variance(weights):
    """A chunk is apart by its whole mean from nothing, which must not be infinity times 0."""
    grads = jnp.full((8, 2), 1e20)
    counts = None if weights is None else jnp.asarray(weights, jnp.float32)
    sums = chunked_sums(lambda rows: rows, grads, counts, 4, True)
    np.testing.assert_allclose(sums.mean, 1e20, rtol=1e-6)
    assert np.all(np.asarray(sums.squares) == 0)
    assert np.all(np.asarray(sums.cubes) == 0)
