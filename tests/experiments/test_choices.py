from typing import get_args

from feasible_jax.data import SCENARIOS
from feasible_jax.experiments import ARMS, METHODS
from feasible_jax.experiments.choices import ArmName, MethodName, ModelName, ScenarioName
from feasible_jax.models import MODELS


def test_flags_accept_what_there_is():
    assert set(get_args(MethodName)) == set(METHODS)
    assert set(get_args(ArmName)) == set(ARMS)
    assert set(get_args(ScenarioName)) == set(SCENARIOS)
    assert set(get_args(ModelName)) == set(MODELS)
