"""The arms of the frontier: with what mask a method runs, and the settings each may choose from.

Every arm tries as many settings. Learning rates are multiples of the method's own, which is where
its plain form begins to forget within some hundred steps.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import optax

import feasible_jax as fj
from feasible_jax.experiments import make_method
from feasible_jax.feasibility import Rule
from feasible_jax.methods import Method

# About the rate at which the plain method forgets a tenth of Fashion-MNIST in 100 to 300 steps.
LEARNING_RATES = {"gradient_ascent": 0.01, "neg_grad_plus": 0.1, "random_labels": 0.03}


# Of certificates, in nats a step, chosen before any run of this benchmark.
TOLERANCE = 1e-3


class Setting(NamedTuple):
    """What one trial of an arm runs with.

    Attributes:
      rate: learning rate of SGD, of arms that are not priced as a multiple of the method's own.
      confidence: of the tests; unused where nothing is tested.
      curvature: the rate of the curvature's price, or "adaptive"; unused where nothing is priced.
      ramp_steps: steps after the warm-up over which the learning rate rises from 0. Where all
        examples are fitted curvature prices next to nothing until the retain loss has risen, and
        a first step at the largest rate may be the last.
      retain_weight: of NegGrad+; unused by other methods.
    """

    rate: float
    confidence: float = 0.95
    curvature: float | str = 1000.0
    ramp_steps: int = 0
    retain_weight: float = 0.95


class Arm(NamedTuple):
    """A way to run a method.

    Attributes:
      label: how tables call it.
      rule: ``(setting, density) -> Rule``, or None where nothing is masked.
      settings: those it chooses from, on validation data.
      weighted: instead of them, those for NegGrad+: without a price, it forgets next to nothing or
        all at once with its usual weight of the retain set.
      like: the arm whose chosen setting it takes over instead of choosing, or None.
      certified: whether a certificate has the last word.
      priced: whether curvature is priced: steps then are as large as their price allows, whatever
        the method, and rates are no multiples.
    """

    label: str
    rule: Callable[[Setting, float], Rule] | None
    settings: tuple[Setting, ...]
    like: str | None = None
    certified: bool = False
    priced: bool = False
    weighted: tuple[Setting, ...] = ()

    def settings_of(self, method: str) -> tuple[Setting, ...]:
        """Those to choose from when a method runs."""
        return self.weighted if self.weighted and method == "neg_grad_plus" else self.settings


def _rates(*rates: float) -> tuple[Setting, ...]:
    return tuple(Setting(rate) for rate in rates)


def _weighted(*pairs: tuple[float, float]) -> tuple[Setting, ...]:
    return tuple(Setting(rate, retain_weight=weight) for rate, weight in pairs)


def _coordinatewise(setting: Setting, density: float) -> Rule:
    return fj.coordinatewise(evidence_decay=0.9)


def _priced(setting: Setting, density: float) -> Rule:
    return fj.coordinatewise(curvature=setting.curvature, evidence_decay=0.9)


def _budget(setting: Setting, density: float) -> Rule:
    return fj.budget(curvature=setting.curvature)


_PLAIN = _rates(0.1, 0.3, 1.0, 3.0)
# What keeps a fraction of the coordinates goes further at each step.
_RANDOM = _rates(1.0, 3.0, 10.0, 30.0)
_TESTED = (Setting(1.0), Setting(3.0), Setting(10.0), Setting(3.0, 0.75))
_WEIGHTED = _weighted((1.0, 0.75), (0.3, 0.6), (1.0, 0.95), (0.3, 0.95))
_WEIGHTED_RANDOM = _weighted((10.0, 0.75), (20.0, 0.75), (3.0, 0.6), (10.0, 0.95))
_WEIGHTED_TESTED = _weighted((3.0, 0.75), (3.0, 0.6), (3.0, 0.95), (10.0, 0.95))
_PRICED = (
    Setting(3.0, 0.5, 1000.0),
    Setting(10.0, 0.5, 300.0),
    Setting(30.0, 0.5, 200.0, 50),
    Setting(3.0, 0.5, "adaptive"),
)
_BUDGET = (
    Setting(0.05, 0.95, 1000.0),
    Setting(1.0, 0.95, 1000.0),
    Setting(10.0, 0.95, 300.0),
    Setting(1.0, 0.95, "adaptive"),
)

ARMS: dict[str, Arm] = {
    "none": Arm("no mask", None, _PLAIN, weighted=_WEIGHTED),
    "sign_mask": Arm(
        "sign mask", lambda s, density: fj.sign_agreement(), _PLAIN, weighted=_WEIGHTED
    ),
    "projection": Arm(
        "projection",
        lambda s, density: fj.projection(evidence_decay=0.9),
        _PLAIN,
        weighted=_WEIGHTED,
    ),
    "coordinatewise": Arm("coordinatewise", _coordinatewise, _TESTED, weighted=_WEIGHTED_TESTED),
    # As dense as that, which is why it runs after it.
    "random_mask": Arm(
        "random mask",
        lambda s, density: fj.random_mask(density),
        _RANDOM,
        weighted=_WEIGHTED_RANDOM,
    ),
    "curvature": Arm("coordinatewise, curvature", _priced, _PRICED, priced=True),
    "budget": Arm("budget", _budget, _BUDGET, priced=True),
    "curvature_certified": Arm(
        "coordinatewise, curvature, certified", _priced, (), "curvature", True, priced=True
    ),
    "budget_certified": Arm("budget, certified", _budget, (), "budget", True, priced=True),
}


@cache
def make_feasibility(
    arm: str, setting: Setting, density: float, warmup_steps: int
) -> optax.GradientTransformationExtraArgs | None:
    """What an arm chains after the optimizer: the retain loss must not increase."""
    this = ARMS[arm]
    if this.rule is None:
        return None
    rule = this.rule(setting, density)
    masked = fj.feasible_updates(
        decrease=("retain",),
        confidence=setting.confidence,
        rule=rule,
        warmup_steps=warmup_steps if rule.evidence_decay else 0,
    )
    if not this.certified:
        return masked
    certified = fj.certify_updates(decrease=("retain",), confidence=0.95, tolerance=TOLERANCE)
    return optax.chain(masked, certified)


@cache
def make_optimizer(setting: Setting, warmup_steps: int) -> optax.GradientTransformation:
    """SGD whose learning rate can be set, and rises as the setting says."""
    sgd = optax.inject_hyperparams(optax.sgd)(learning_rate=0.01)
    if not setting.ramp_steps:
        return sgd
    ramp = optax.linear_schedule(0.0, 1.0, setting.ramp_steps, warmup_steps)
    return optax.chain(sgd, optax.scale_by_schedule(ramp))


def make_base_method(name: str, num_classes: int, setting: Setting) -> Method:
    """The method itself."""
    if name == "neg_grad_plus":
        return _neg_grad_plus(setting.retain_weight)
    return make_method(name, num_classes)


# The same object for the same weight, so that nothing is compiled twice.
_neg_grad_plus = cache(fj.methods.neg_grad_plus)


def learning_rate(method: str, arm: str, setting: Setting) -> float:
    """Of SGD."""
    return setting.rate if ARMS[arm].priced else setting.rate * LEARNING_RATES[method]
