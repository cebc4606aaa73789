import jax
import pytest

from feasible_jax.experiments import TaskConfig, build_task, preset


@pytest.fixture(scope="session")
def tiny():
    """A study of seconds: two methods, every arm, two seeds."""
    return preset(
        "digits",
        train_size=200,
        validation_size=100,
        test_size=100,
        epochs=5,
        steps=6,
        look_every=3,
        learning_rates=(0.03, 0.3),
        scenarios=("corrupted_labels",),
        methods=("gradient_ascent", "fine_tuning"),
        seeds=2,
    )


@pytest.fixture(scope="session")
def built():
    config = TaskConfig(train_size=200, validation_size=100, test_size=100, epochs=5)
    return build_task(config, "corrupted_labels", seed=1)


@pytest.fixture
def promoting():
    """Optax's Adam refuses strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True, scope="module")
def compile_quickly(quick_compilation):
    """Programs here are compiled far longer than they run."""
