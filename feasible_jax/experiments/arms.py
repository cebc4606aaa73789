"""The base methods by name, and the arms: with what mask a method runs."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import optax

from feasible_jax import methods
from feasible_jax.feasibility import (
    Rule,
    certify_updates,
    coordinatewise,
    feasible_updates,
    random_mask,
    sign_agreement,
)
from feasible_jax.methods import Method
from feasible_jax.methods.one_shot import is_one_shot

METHODS: dict[str, Callable[[int], Method]] = {
    "amnesiac": methods.amnesiac,
    "bad_teacher": lambda num_classes: methods.bad_teacher(),
    "boundary_expand": lambda num_classes: methods.boundary_expand(),
    "boundary_shrink": lambda num_classes: methods.boundary_shrink(),
    "cf_k": lambda num_classes: methods.cf_k(),
    "eu_k": lambda num_classes: methods.eu_k(),
    "fine_tuning": lambda num_classes: methods.fine_tuning(),
    "fisher_forgetting": lambda num_classes: methods.fisher_forgetting(),
    "gdr_gma": lambda num_classes: methods.gdr_gma(),
    "gradient_ascent": lambda num_classes: methods.gradient_ascent(),
    "hamu": lambda num_classes: methods.hamu(),
    "influence_unlearning": lambda num_classes: methods.influence_unlearning(),
    "l1_sparse": lambda num_classes: methods.l1_sparse(),
    "munba": lambda num_classes: methods.munba(),
    "neg_grad_plus": lambda num_classes: methods.neg_grad_plus(),
    "npo": lambda num_classes: methods.npo(),
    "random_labels": methods.random_labels,
    "salun": methods.salun,
    "scrub": lambda num_classes: methods.scrub(),
    "scrub_r": lambda num_classes: methods.scrub_r(),
    "sfron": lambda num_classes: methods.sfron(),
    "sim_npo": lambda num_classes: methods.sim_npo(),
    "ssd": lambda num_classes: methods.ssd(),
    "unsir": lambda num_classes: methods.unsir(),
}


class Arm(NamedTuple):
    """A way to run a method.

    Attributes:
      label: how tables call it.
      rule: ``density -> Rule``, or None where nothing is masked.
      tests: whether the rule tests at a confidence.
      certified: whether each update has to pass a test on examples that did not choose it.
      rates: what a search multiplies its learning rates by: a price on curvature does the braking,
        so that steps may be larger.
    """

    label: str
    rule: Callable[[float], Rule] | None
    tests: bool = False
    certified: bool = False
    rates: float = 1.0


# Of a certificate, in nats a step: a loss that is nearly 0 already hardly ever falls further.
_TOLERANCE = 1e-3


def _priced(density: float) -> Rule:
    return coordinatewise(curvature="adaptive", soft=True, evidence_decay=0.9)


ARMS: dict[str, Arm] = {
    "plain": Arm("plain", None),
    "feasible": Arm("feasible", lambda density: coordinatewise(), tests=True),
    "feasible_curvature": Arm("feasible, curvature", _priced, tests=True, rates=10.0),
    "certified": Arm("certified", _priced, tests=True, certified=True, rates=10.0),
    "random_mask": Arm("random mask", random_mask),
    "sign_mask": Arm("sign mask", lambda density: sign_agreement()),
}


@cache
def make_method(name: str, num_classes: int) -> Method:
    """A base method with its default settings; the same object for the same arguments.

    Args:
      name: one of ``METHODS``.
      num_classes: of the task.

    Returns:
      The ``Method``.

    Raises:
      ValueError: for an unknown name.

    >>> make_method("neg_grad_plus", 10).name
    'NegGrad+'
    """
    return _known("method", name, METHODS)(num_classes)


class Pace(NamedTuple):
    """How a method runs where nobody says otherwise.

    Attributes:
      learning_rate: of the optimizer.
      steps: number of steps.
      optimizer: ``"sgd"`` or ``"adam"``.
    """

    learning_rate: float
    steps: int
    optimizer: str = "sgd"


# Of SGD, where nothing else is known.
SGD_RATE = 0.1
# Where that is too much or too little to forget the built-in digits and keep the rest.
_RATES = {
    "amnesiac": 0.01, "boundary_shrink": 0.01, "munba": 0.01, "gradient_ascent": 0.01,
    "boundary_expand": 0.03, "hamu": 0.03, "gdr_gma": 0.05, "eu_k": 0.5, "cf_k": 1.0,
}  # fmt: skip


def pace_of(name: str) -> Pace:
    """The optimizer, its learning rate and the number of steps of a run without a search.

    Args:
      name: one of ``METHODS``.

    Returns:
      100 steps of SGD at a rate at which the method forgets the built-in digits, mostly 0.1; of
      Adam for ``"scrub"`` and ``"scrub_r"``, as their authors use; for a one-shot method one step
      at 1, which makes the whole of its edit.

    Raises:
      ValueError: for an unknown name.

    >>> pace_of("ssd")
    Pace(learning_rate=1.0, steps=1, optimizer='sgd')
    """
    if is_one_shot(make_method(name, 10)):
        return Pace(1.0, 1)
    if name in ("scrub", "scrub_r"):
        return Pace(0.002, 100, "adam")
    return Pace(_RATES.get(name, SGD_RATE), 100)


@cache
def make_feasibility(
    arm: str, density: float = 0.5
) -> optax.GradientTransformationExtraArgs | None:
    """What an arm chains after the optimizer; the same object for the same arguments.

    Every arm but the plain one asks that the retain loss must not increase and the forget loss
    must not decrease. The confidence is an injected hyper-parameter, to be set by
    ``unlearn(hyperparams={"confidence": ...})``: a search over it compiles once. A certificate, of
    the retain loss at 95% and a tolerance of 0.001 nats a step, has its own.

    Args:
      arm: one of ``ARMS``.
      density: of the random mask, in [0, 1].

    Returns:
      A transformation, or None for the plain arm.

    Raises:
      ValueError: for an unknown arm.

    >>> make_feasibility("plain") is None
    True
    """
    rule = _known("arm", arm, ARMS).rule
    if rule is None:
        return None
    masked = optax.inject_hyperparams(feasible_updates)(
        decrease=("retain",), increase=("forget",), confidence=0.95, rule=rule(density)
    )
    if not ARMS[arm].certified:
        return masked
    certified = certify_updates(decrease=("retain",), confidence=0.95, tolerance=_TOLERANCE)
    return optax.chain(masked, certified)


def _known(kind: str, name: str, known: dict):
    if name not in known:
        raise ValueError(f"there is no {kind} named {name!r}: choose one of {', '.join(known)}.")
    return known[name]
