import jax
import jax.numpy as jnp
import pytest

B = 5
SIZES = {"N": 1, "C": 4, "O": 8}
SPACE, TAPS = {"W": 5, "H": 6, "D": 4}, {"W": 3, "H": 2, "D": 2}


def shapes(order, groups, batch=1):
    """The shapes of image and kernel for dimension numbers such as ``("NWC", "WIO", "NWC")``."""
    image, kernel = order[0], order[1]
    return (
        tuple(batch if c == "N" else SIZES.get(c) or SPACE[c] for c in image),
        tuple(4 // groups if c == "I" else SIZES.get(c) or TAPS[c] for c in kernel),
    )


def check(assert_oracle, normal, order, batch=1, **options):
    rank = len(order[0]) - 2
    options = {"window_strides": (1,) * rank, "padding": "SAME"} | options
    image, kernel = shapes(order, options.get("feature_group_count", 1), batch)

    def loss(k, x):
        out = jax.lax.conv_general_dilated(x, k, dimension_numbers=order, **options)
        return jnp.sum(jnp.tanh(out) ** 2)

    assert_oracle(loss, normal(*kernel) / 3, normal(B, *image))


LAST = [("NWC", "WIO", "NWC"), ("NHWC", "HWIO", "NHWC"), ("NDHWC", "DHWIO", "NDHWC")]
FIRST = [("NCW", "OIW", "NCW"), ("NCHW", "OIHW", "NCHW"), ("NCDHW", "OIDHW", "NCDHW")]
ODD = [("CNHW", "IHWO", "NHCW"), ("NHWC", "OWHI", "NWHC"), ("HWCN", "IOHW", "CHWN")]


@pytest.mark.parametrize("order", LAST + FIRST + ODD)
@pytest.mark.parametrize("batch", [1, 2])
def test_ranks_and_orders_of_dimensions(assert_oracle, normal, order, batch):
    check(assert_oracle, normal, order, batch)


@pytest.mark.parametrize("order", [LAST[1], FIRST[1], ODD[1]])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "VALID"},
        {"window_strides": (2, 3)},
        {"window_strides": (2, 1), "padding": ((1, 2), (0, 1))},
        {"padding": ((-1, 2), (1, -1))},
        {"rhs_dilation": (2, 2), "padding": ((2, 1), (2, 2))},
        {"lhs_dilation": (2, 3), "padding": ((1, 1), (2, 0))},
        {"lhs_dilation": (2, 2), "rhs_dilation": (1, 2), "window_strides": (1, 3)},
        {"feature_group_count": 2},
        {"feature_group_count": 4, "window_strides": (2, 2)},
    ],
    ids=str,
)
def test_every_option(assert_oracle, normal, order, options):
    if "lhs_dilation" in options and "padding" not in options:
        options = {**options, "padding": ((1, 1), (1, 1))}
    check(assert_oracle, normal, order, **options)


def test_one_dimensional_options(assert_oracle, normal):
    check(assert_oracle, normal, LAST[0], batch=2, window_strides=(2,), feature_group_count=2)


def test_two_dimensional_groups_of_a_batch(assert_oracle, normal):
    check(assert_oracle, normal, LAST[1], batch=2, feature_group_count=4)


def test_three_dimensional_groups(assert_oracle, normal):
    check(assert_oracle, normal, FIRST[2], window_strides=(1, 2, 2), feature_group_count=2)


def test_one_position_is_an_outer_product(assert_oracle, normal):
    check(assert_oracle, normal, LAST[1], padding=((0, -4), (0, -2)))


def test_kernels_too_many_to_hold(assert_oracle, normal):
    def loss(p, x):
        out = jax.lax.conv(x[None], p["k"], (1, 1), "SAME")
        return jnp.sum(jnp.tanh(out) ** 2)

    assert_oracle(loss, {"k": normal(128, 64, 3, 3) / 20}, normal(9, 64, 4, 4))


def test_transposed(assert_oracle, normal):
    def loss(k, x):
        out = jax.lax.conv_transpose(x[None], k, (2, 2), "SAME")
        return jnp.sum(jnp.tanh(out))

    assert_oracle(loss, normal(3, 3, 2, 4), normal(B, 4, 4, 2))


def test_mapped_over_images_and_over_kernels(assert_oracle, normal):
    def conv(x, k):
        return jax.lax.conv(x, k, (1, 1), "SAME")

    def loss(k, x):
        images = jax.vmap(conv, in_axes=(0, None))(x[:, None], k[0])
        kernels = jax.vmap(conv, in_axes=(None, 0))(x[:1], k)
        return jnp.sum(jnp.tanh(images)) + jnp.sum(jnp.sin(kernels))

    assert_oracle(loss, normal(2, 4, 3, 2, 2), normal(B, 2, 3, 4, 4))


def test_an_image_made_of_parameters_has_no_closed_form(assert_oracle, normal):
    def loss(p, x):
        return jnp.sum(jnp.tanh(jax.lax.conv(p, x, (1, 1), "SAME")))

    assert_oracle(loss, normal(1, 2, 5, 5), normal(B, 3, 2, 2, 2))
