"""The real task: a trained classifier, its base methods, and points along a real run."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import feasible_jax as fj
from feasible_jax.experiments import TaskConfig, build_task, preset
from feasible_jax.unlearning import load_params, save_params


class Base(NamedTuple):
    """A base method and the step size of plain SGD that proposes its updates."""

    method: fj.methods.Method
    learning_rate: float


BASES = {
    "gradient ascent": Base(fj.methods.gradient_ascent(), 0.05),
    "NegGrad+": Base(fj.methods.neg_grad_plus(0.6), 0.3),
    "random labels": Base(fj.methods.random_labels(10), 0.1),
}


class Setting(NamedTuple):
    """Where real figures come from; hashable, so that what is made for it is made once.

    Attributes:
      cache: a folder for trained models.
      points: the steps of a run at which updates are looked at, ascending.
      smoke: a tiny network on digits instead of the CNN on Fashion-MNIST.
    """

    cache: Path
    points: tuple[int, ...]
    smoke: bool


@cache
def load_task(setting: Setting, scenario: str) -> fj.Task:
    """A task with its trained model, from the cache where it is there."""
    config = preset("fashion_mnist").task
    if setting.smoke:
        config = TaskConfig(epochs=3, train_size=120, validation_size=50, test_size=50)

    def trained(role, train, like):
        name = f"{config.dataset}-{scenario}-{role}" + ("-smoke" if setting.smoke else "")
        if (setting.cache / name).exists():
            return load_params(setting.cache / name, like), None
        params, seconds = train()
        save_params(setting.cache / name, params)
        return params, seconds

    return build_task(config, scenario, trained=trained).task


@cache
def run_points(setting: Setting, scenario: str, base: str) -> dict[int, Any]:
    """The parameters at points of a run whose mask keeps the model useful (the budget rule)."""
    task, (method, learning_rate) = load_task(setting, scenario), BASES[base]
    found = {0: task.params}
    length = int(np.gcd.reduce(setting.points)) or 1

    def look(step: int, params: Any) -> None:
        if step in setting.points:
            found[step] = params

    if setting.points[-1] > 0:
        fj.unlearn(
            task.loss_fn, task.params, forget=task.forget, retain=task.retain, method=method,
            optimizer=optax.sgd(learning_rate), steps=setting.points[-1], chunk_size=length,
            feasibility=fj.feasible_updates(decrease=("retain",), rule=fj.budget()),
            on_chunk=look, progress=False,
        )  # fmt: skip
    return {step: jax.tree.map(np.asarray, found[step]) for step in setting.points if step in found}


class Point(NamedTuple):
    """A step of a real run, and the model there."""

    setting: Setting
    scenario: str
    base: str
    step: int

    @property
    def task(self) -> fj.Task:
        """What is to be forgotten."""
        return load_task(self.setting, self.scenario)

    @property
    def params(self) -> Any:
        """The parameters at the step."""
        return run_points(self.setting, self.scenario, self.base)[self.step]

    def about(self) -> dict[str, Any]:
        """What a row says of it."""
        return {"scenario": self.scenario, "base": self.base, "step": self.step}
