import time
from dataclasses import replace

import jax
import jax.numpy as jnp

from feasible_jax.experiments.preparation import seconds_to_prepare
from feasible_jax.methods import Method, Objective, Prepared, gradient_ascent


def test_a_method_that_prepares_nothing_takes_no_time(built):
    assert seconds_to_prepare(built.task, gradient_ascent()) == 0


def test_the_work_of_a_preparation_is_timed(built):
    """A callback that sleeps stands for work; what it returns is waited for."""
    seen = []

    def work(size):
        seen.append(int(size))
        time.sleep(0.05)
        return jnp.zeros(())

    def prepare(problem, data, key):
        size = jnp.asarray(len(data["forget"].labels))
        return Prepared(jax.pure_callback(work, jax.ShapeDtypeStruct((), jnp.float32), size))

    method = Method("slow", (Objective("forget", "forget"),), (1.0,), prepare=prepare)
    assert 0.05 < seconds_to_prepare(replace(built.task, name="any"), method) < 30
    assert seen == [len(built.task.forget.labels)]
