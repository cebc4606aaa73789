import pytest

from feasible_jax.experiments.config import SingleConfig
from feasible_jax.experiments.resolve_task import load_task_function, resolve_task


def test_a_function_of_the_working_directory_is_found(own_task):
    config = SingleConfig(task_function=f"{own_task}:make")
    built = resolve_task(config, pytest.fail, progress=False)
    assert built.task.name == "mine"
    assert built.retrained_seconds is None


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("task_of_my_own", ValueError, "module:function"),
        ("task_of_my_own:no.dots", ValueError, "module:function"),
        ("task_of_my_own:missing", ImportError, "no function 'missing'"),
        ("no_such_module_here:make", ImportError, "no_such_module_here"),
        ("task_of_my_own:wrong", TypeError, "returned a int"),
    ],
)
def test_what_is_wrong_is_named(own_task, name, error, text):
    with pytest.raises(error, match=text):
        load_task_function(name)
