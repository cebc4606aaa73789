import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments.structured.rules import dot_general

B = 6


def squashed(h):
    return jnp.sum(jnp.tanh(h) ** 2)


@pytest.mark.parametrize(
    ("formula", "weight", "example"),
    [
        ("oi,i->o", (4, 3), (3,)),
        ("io,i->o", (3, 4), (3,)),
        ("oi,ti->to", (4, 3), (5, 3)),
        ("io,ti->ot", (3, 4), (5, 3)),
        ("io,abi->abo", (3, 4), (2, 5, 3)),
        ("ijo,tij->to", (3, 2, 4), (5, 3, 2)),
        ("ijo,tji->to", (3, 2, 4), (5, 2, 3)),
        ("ij,tij->t", (3, 2), (5, 3, 2)),
        ("i,ti->t", (3,), (5, 3)),
        ("hdk,td->htk", (2, 3, 4), (5, 3)),
        ("hkd,htk->td", (2, 4, 3), (2, 5, 4)),
        ("bij,bjk->bik", (2, 4, 3), (2, 3, 5)),
        ("bij,bj->bi", (2, 4, 3), (2, 3)),
        ("ibj,jkb->kib", (4, 2, 3), (3, 5, 2)),
        ("abij,bakj->kabi", (2, 3, 4, 2), (3, 2, 5, 2)),
        ("oi,j->oij", (4, 3), (2,)),
    ],
)
def test_every_arrangement(assert_oracle, normal, formula, weight, example):
    operands, result = formula.split("->")
    w, x = operands.split(",")
    swapped = f"{x},{w}->{result}"

    def loss(p, x):
        return squashed(jnp.einsum(formula, p["first"], x)) + squashed(
            jnp.einsum(swapped, x, p["second"])
        )

    params = {"first": normal(*weight), "second": normal(*weight)}
    assert_oracle(loss, params, normal(B, *example))


@pytest.mark.parametrize("shape", [(40, 30), (300, 250)])
@pytest.mark.parametrize("positions", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_small_and_large_layers(assert_oracle, normal, shape, positions, weighted):
    weights = jnp.asarray([1.0, 2, 0, 1, 1, 3, 1]) if weighted else None
    params = {"w": normal(*shape) / 9, "b": normal(shape[1])}

    def loss(p, x):
        return squashed(x @ p["w"] + p["b"][None])

    assert_oracle(loss, params, normal(7, positions, shape[0]), weights)


LOSSES = {
    "bilinear": lambda p, x: jnp.sin(x[:4] @ p @ x[4:]),
    "projected twice": lambda p, x: squashed(p @ jnp.tanh(p.T @ x[:4])),
    "vmap over rows": lambda p, x: squashed(jax.vmap(lambda r: p @ r)(x[:6].reshape(2, 3))),
    "vmap over weights": lambda p, x: squashed(jax.vmap(lambda r: r @ x[:3])(p)),
    "logsumexp": lambda p, x: jax.nn.logsumexp(p @ x[:3]),
    "by a constant": lambda p, x: squashed(jnp.full((2, 4), 0.5, p.dtype) @ p @ x[:3]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_in_other_company(assert_oracle, normal, name):
    assert_oracle(LOSSES[name], normal(4, 3), normal(B, 7))


def test_attention(assert_oracle, normal):
    def loss(p, x):
        q, k, v = (jnp.einsum("td,dhk->thk", x, p[name]) for name in "qkv")
        share = jax.nn.softmax(jnp.einsum("thk,shk->hts", q, k), axis=-1)
        return squashed(jnp.einsum("hts,shk,hkd->td", share, v, p["out"]))

    params = {name: normal(6, 2, 3) for name in "qkv"} | {"out": normal(2, 3, 6)}
    assert_oracle(loss, params, normal(B, 5, 6))


def test_positions_of_which_all_but_one_are_unread(assert_oracle, normal):
    assert_oracle(lambda p, x: squashed((x @ p)[2]), normal(3, 4), normal(B, 5, 3))


def test_a_product_of_two_parameters_with_the_example(assert_oracle, normal):
    params = {"a": normal(4, 2), "b": normal(2, 3)}
    assert_oracle(lambda p, x: squashed(p["a"] @ p["b"] @ x), params, normal(B, 3))


def narrow_product(p, x, x_dtype):
    product = jax.lax.dot_general(
        x.astype(x_dtype), p.astype(jnp.bfloat16), (((1,), (0,)), ((), ())),
        preferred_element_type=jnp.float32,
    )  # fmt: skip
    return squashed(product).astype(x.dtype)


@pytest.mark.parametrize("x_dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("positions", [1, 5])
def test_operands_of_unequal_dtypes(assert_oracle, normal, x_dtype, positions):
    def loss(p, x):
        return narrow_product(p, x, x_dtype)

    assert_oracle(loss, normal(3, 4), normal(B, positions, 3), rtol=0.02)


DIMENSIONS = [
    ((((1,), (1,)), ((), ())), (4, 3), (5, 3)),
    ((((0,), (2,)), ((), ())), (4, 3), (5, 2, 4)),
    ((((2, 0), (0, 1)), ((), ())), (4, 3, 2), (2, 4, 5)),
    ((((2,), (0,)), ((0,), (2,))), (2, 4, 3), (3, 5, 2)),
    ((((), ()), ((), ())), (4, 3), (2,)),
]


@pytest.mark.parametrize(("dimensions", "first", "second"), DIMENSIONS)
@pytest.mark.parametrize("weight_first", [True, False])
def test_factors_and_arrange_make_the_gradient(
    normal, plan_of, dimensions, first, second, weight_first
):
    def loss(w, x):
        operands = (w, x) if weight_first else (x, w)
        return jnp.sum(jnp.sin(jax.lax.dot_general(*operands, dimensions)))

    w, x = normal(*first), normal(*second)
    w, x = (w, x) if weight_first else (x, w)
    (use,) = plan_of(loss, w, x[None]).uses

    @jax.jit
    def both(w, x):
        operands = (w, x) if weight_first else (x, w)
        cotangent = jnp.cos(jax.lax.dot_general(*operands, dimensions))
        left, right = dot_general.factors(use.spec, (x[None, None],), cotangent[None, None])
        product = jnp.einsum("ngtc,ngtf->ngcf", left, right)
        return dot_general.arrange(use.spec, product)[0], jax.grad(loss)(w, x)

    got, want = both(w, x)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
