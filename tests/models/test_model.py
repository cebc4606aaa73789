import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.models import MODELS, build_model

SMALL = {"mlp": {"hidden_sizes": (6,)}, "cnn": {"widths": (3, 4)}, "resnet18": {"width": 4}}


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


def test_a_single_example_gives_its_row_of_the_batch(name):
    model = build_model(name, (9, 6, 3), 5, **SMALL[name])
    params = model.init(jax.random.key(1))
    inputs = np.random.default_rng().uniform(size=(3, 9, 6, 3)).astype(np.float32)
    apply = jax.jit(model.apply)
    logits = apply(params, inputs)
    assert logits.shape == (3, 5)
    assert logits.dtype == jnp.float32
    for image, row in zip(inputs, logits, strict=True):
        single = apply(params, image)
        assert single.shape == (5,)
        np.testing.assert_allclose(single, row, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_per_example_gradients_add_up_to_the_gradient(name):
    model = build_model(name, (8, 8, 1), 4, **SMALL[name])
    params = model.init(jax.random.key(2))
    inputs = np.random.default_rng().uniform(size=(3, 8, 8, 1)).astype(np.float32)

    def objective(params, inputs):
        return jnp.sum(jnp.tanh(model.apply(params, inputs)) @ jnp.arange(1.0, 5.0))

    of_batch = jax.jit(jax.grad(objective))(params, inputs)
    of_each = jax.jit(jax.vmap(jax.grad(objective), (None, 0)))(params, inputs)
    for whole, each in zip(jax.tree.leaves(of_batch), jax.tree.leaves(of_each), strict=True):
        assert each.shape == (3, *whole.shape)
        scale = float(jnp.abs(whole).max())
        np.testing.assert_allclose(each.sum(0), whole, rtol=1e-3, atol=1e-4 * scale + 1e-6)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_key_decides_the_parameters(name):
    model = build_model(name, (8, 8, 1), 4, **SMALL[name])
    one, same, other = (model.init(jax.random.key(seed)) for seed in (0, 0, 1))
    assert isinstance(one, dict)
    assert "head" in one
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert any(
        np.any(a != b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(one))


def test_the_same_arguments_give_the_same_object(name):
    model = build_model(name, (8, 8, 1), 4)
    assert build_model(name, [8, 8, 1], 4) is model
    assert build_model(name, np.array([8, 8, 1]), np.int64(4)) is model
    assert build_model(name, (8, 8, 1), 5) is not model
    assert build_model(name, (8, 8, 3), 4).apply is not model.apply
    assert hash(model) == hash(build_model(name, (8, 8, 1), 4))


def test_options_are_part_of_the_arguments():
    model = build_model("mlp", (8, 8, 1), 4, hidden_sizes=[3, 2])
    assert build_model("mlp", (8, 8, 1), 4, hidden_sizes=(3, 2)) is model
    assert build_model("mlp", (8, 8, 1), 4) is not model
    params = model.init(jax.random.key(0))
    assert params["dense_2"]["kernel"].shape == (3, 2)


@pytest.mark.parametrize("shape", [(7, 8, 1), (2, 8, 8, 3), (8, 8), (1, 2, 8, 8, 1)])
def test_inputs_of_another_shape(name, shape):
    model = build_model(name, (8, 8, 1), 4, **SMALL[name])
    params = jax.eval_shape(model.init, jax.random.key(0))
    with pytest.raises(ValueError, match=rf"{name} takes images of shape \(8, 8, 1\)"):
        jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("vgg", (8, 8, 1), 10), {}, "'vgg': choose one of mlp, cnn, resnet18"),
        (("mlp", (8, 8), 10), {}, r"image_shape is \(8, 8\)"),
        (("mlp", (8, 0, 1), 10), {}, r"image_shape is \(8, 0, 1\)"),
        (("mlp", (8, 8, 1), 0), {}, "num_classes is 0"),
        (("cnn", (8, 8, 1), 10), {"width": 3}, "cnn has no option 'width': it has widths"),
        (("resnet18", (8, 8, 1), 10), {"parent": None}, "no option 'parent'"),
    ],
)
def test_impossible_models(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        build_model(*arguments, **options)
