import jax
import jax.numpy as jnp
import pytest

from feasible_jax.moments import explain_moments


@jax.custom_vjp
def opaque(w, x):
    return jnp.sum(w) * x


opaque.defvjp(lambda w, x: (opaque(w, x), (w, x)), lambda saved, g: (saved[0] * 0, g))


def loss(params, x):
    h = jnp.tanh(x @ params["once"])
    tokens = jnp.tanh(h.reshape(4, 128) @ params["often"])
    h = jnp.tanh(tokens @ params["tied"]) @ params["tied"].T
    return jnp.sum(opaque(params["opaque"], h)) + jnp.sum(params["bias"] * h[0])


SHAPES = {
    "bias": (256,),
    "often": (128, 256),
    "once": (256, 512),
    "opaque": (300, 300),
    "tied": (256, 512),
    "unused": (3,),
}
PARAMS = {name: jnp.ones(shape) for name, shape in SHAPES.items()}
BATCH = jnp.ones((64, 256))


@pytest.fixture(scope="module")
def rows():
    return {row.name: row for row in explain_moments(loss, PARAMS, BATCH).rows}


def test_every_parameter_has_a_row(rows):
    assert {name: row.shape for name, row in rows.items()} == SHAPES


def test_how_says_which_form(rows):
    assert rows["once"].how == "squared outer products"
    assert rows["often"].how == "products, 4 examples at a time"
    assert rows["tied"].how == "sum of 2 uses, 4 examples at a time"
    assert rows["bias"].how == "all gradients at once"
    assert rows["opaque"].how == "gradients in a pass of its own"
    assert rows["unused"].how == "the loss does not use it"


def test_flops_are_counted_from_shapes(rows):
    assert rows["once"].gradient_flops == 2 * 64 * 256 * 512
    assert rows["once"].flops == 2 * rows["once"].gradient_flops + 2 * 64 * 768 + 3 * 256 * 512
    assert rows["often"].gradient_flops == 2 * 64 * 4 * 128 * 256
    assert rows["tied"].gradient_flops == 2 * 2 * 64 * 4 * 256 * 512
    assert rows["often"].gradient_bytes == 4 * 128 * 256


def test_nothing_holds_a_gradient_an_example(rows):
    for name in ("once", "often", "tied", "opaque"):
        assert rows[name].bytes_held < 64 * rows[name].gradient_bytes / 2


def test_advice_names_the_costly_ones_alone(rows):
    assert {name for name, row in rows.items() if row.advice} == {"tied", "opaque"}
    assert "custom_vjp" in rows["opaque"].advice


def test_shapes_are_enough():
    shapes = jax.eval_shape(lambda: (PARAMS, BATCH))
    assert explain_moments(loss, *shapes) == explain_moments(loss, PARAMS, BATCH)


def test_the_table_has_a_line_a_parameter_and_the_advice():
    lines = str(explain_moments(loss, PARAMS, BATCH)).splitlines()
    assert len(lines) == 2 + len(PARAMS) + 1 + 2
    assert lines[-1].startswith("tied: it is used in several places")


def test_a_loss_that_is_not_a_scalar_is_refused():
    with pytest.raises(ValueError, match="ONE example"):
        explain_moments(lambda p, x: p["bias"], PARAMS, BATCH)


def test_parameters_without_a_real_gradient_are_refused_by_name():
    params = PARAMS | {"unused": jnp.arange(3)}
    with pytest.raises(TypeError, match=r"params\['unused'\] has dtype int32"):
        explain_moments(loss, params, BATCH)
