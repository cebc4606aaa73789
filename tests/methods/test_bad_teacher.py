import jax
import numpy as np
import pytest

from feasible_jax.methods import Problem, bad_teacher


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_one_step_moves_to_the_bad_teacher_on_forget_and_to_the_original_on_retain(
    temperature, one_step, params, moved, probabilities, by_residual, lone_examples
):
    teacher = jax.tree.map(lambda leaf: -0.5 * leaf + 0.2, params)
    method = bad_teacher(init=lambda key: teacher, temperature=temperature)
    gradient, result = one_step(method, params, begin=moved)
    forget, retain = (lone_examples[name].inputs[0] for name in ("forget", "retain"))

    def towards(teacher, inputs):
        p, q = (probabilities(params, inputs, temperature) for params in (teacher, moved))
        return by_residual(inputs, temperature * (q - p))

    to_bad, to_original = towards(teacher, forget), towards(params, retain)
    for name in params:
        np.testing.assert_allclose(gradient[name], to_bad[name] + to_original[name], atol=3e-6)
    p, q = probabilities(teacher, forget, temperature), probabilities(moved, forget, temperature)
    np.testing.assert_allclose(
        result.history.losses["forget, to random teacher"],
        [temperature**2 * np.sum(p * np.log(p / q))], rtol=1e-5,
    )  # fmt: skip


def test_the_student_begins_as_the_original_and_the_teacher_is_drawn_by_the_key(params):
    prepare = bad_teacher().prepare
    assert prepare is not None
    problem = Problem(None, None, params)  # type: ignore[arg-type]
    one, other = (prepare(problem, {}, jax.random.key(key)) for key in (0, 1))
    assert one.params is None
    for name in params:
        assert (one.extras[name] != params[name]).all()
        assert (one.extras[name] != other.extras[name]).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        bad_teacher(temperature=temperature)
