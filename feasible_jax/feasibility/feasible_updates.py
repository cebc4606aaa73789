"""The Optax transformation: mask an update to the part that is probably aligned with what holds."""

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from feasible_jax.alignment import TESTS, Spending, critical_value_at
from feasible_jax.feasibility.averaging import average_in, empty_average
from feasible_jax.feasibility.constraints import parse_constraints
from feasible_jax.feasibility.coordinatewise import coordinatewise
from feasible_jax.feasibility.counting import count_each
from feasible_jax.feasibility.evidence import (
    check_real,
    check_updates,
    evidence_of,
    filled,
    is_hole,
    leaf_paths,
    scalar,
)
from feasible_jax.feasibility.multiplicity import expected_false
from feasible_jax.feasibility.requirements import Requirements, fixed_settings
from feasible_jax.feasibility.rule import Proposal, Rule, Selection, selected
from feasible_jax.moments.shards import automatic


class FeasibleUpdatesState(NamedTuple):
    """What ``feasible_updates`` remembers, and what one wants to plot.

    Attributes:
      step: number of updates so far, an int32 scalar.
      kept: of the coordinates the base update would have moved, the fraction that passed, in
        [0, 1]; 0 where it would have moved none.
      kept_per_leaf: the same, for each leaf of the parameters.
      pass_rate: the same for each constraint by itself, by its name.
      confidence: the confidence asked for at the last update, in (0, 1).
      level: the level at which each test of the last update was made: 1 minus the confidence, or
        the share of it that ``spending`` allowed.
      expected_false: an estimate of how many of the coordinates kept are misaligned in truth; -1
        where the rule has none.
      average: the averages of the evidence over time, by constraint; empty where none is taken.
      rule_state: whatever the rule remembers.
      requires: the evidence to supply, which a loop reads off the state through any wrapper.

    >>> tx = optax.chain(optax.sgd(0.1), feasible_updates(decrease=("retain",)))
    >>> state = tx.init(jnp.zeros(2))
    >>> int(state[-1].step), sorted(state[-1].pass_rate)
    (0, ['retain'])
    """

    step: jax.Array
    kept: jax.Array
    kept_per_leaf: Any
    pass_rate: dict[str, jax.Array]
    confidence: jax.Array
    level: jax.Array
    expected_false: jax.Array
    average: Any
    rule_state: Any
    requires: Requirements


def feasible_updates(
    decrease: str | Sequence[str] = (),
    increase: str | Sequence[str] = (),
    confidence: float | Callable[[jax.Array], Any] = 0.95,
    rule: Rule | None = None,
    test: str = "student",
    spending: Callable[[jax.Array], Any] | None = None,
    warmup_steps: int = 0,
) -> optax.GradientTransformationExtraArgs:
    """Keep the part of an update that is probably aligned with what must hold, zero the rest.

    Chain it LAST, after the optimizer, so that neither momentum nor weight decay slips past the
    mask. Evidence goes to ``update`` by the constraint's own name.

    Args:
      decrease: names of the objectives that must not increase, such as the retain loss.
      increase: names of the objectives that must not decrease, such as the forget loss.
      confidence: of each one-sided test, in (0, 1); or an Optax schedule, ``step -> confidence``.
      rule: which coordinates pass: ``coordinatewise()`` (the default), ``groupwise(...)``,
        ``budget(...)``, ``projection()``, the controls ``sign_agreement()`` and
        ``random_mask(density)``, or a ``Rule`` of your own.
      test: where the critical value comes from, ``"student"`` or ``"normal"``.
      spending: the share of the level ``1 - confidence`` that each step may use, ``step -> share``,
        as from ``alpha_spending()``, counted from the end of the warm-up; None for all of it at
        every step.
      warmup_steps: how many updates at first are zero, while a rule with ``evidence_decay`` gathers
        evidence; at least 0. Of the first batch alone, many coordinates look as if no example
        depended on them, and large steps along them do harm at once: give about twice ``1 / (1 -
        evidence_decay)`` where steps are large, and let a large learning rate rise after it, as by
        ``optax.linear_schedule(..., transition_begin=warmup_steps)``. Inside
        ``accumulate_evidence`` it is updates that count, not microbatches.

    Returns:
      A ``GradientTransformationExtraArgs``. Its ``update(updates, state, params=None, **evidence)``
      takes for each constraint a ``GradientMoments``, or a tree of per-example gradients whose
      every leaf is ``(B, *param.shape)``; other extra arguments are ignored. Updates keep their
      dtype and structure; the state is a ``FeasibleUpdatesState``.

    Raises:
      ValueError: if no constraint, or one twice, is named; for a confidence outside (0, 1), an
        unknown test or a negative ``warmup_steps``; from ``update``, for updates that are not
        shaped like the parameters, and evidence of the wrong shape.
      TypeError: for a ``rule`` that is no ``Rule``, and a ``Spending``; from ``update``, if a
        constraint's evidence is missing.

    >>> import jax.numpy as jnp, optax
    >>> params = {"w": jnp.array([1.0, 1.0])}
    >>> tx = optax.chain(optax.sgd(0.1), feasible_updates(decrease=("retain",)))
    >>> state = tx.init(params)
    >>> retain = {"w": jnp.array([[1.0, 3.0], [1.1, -3.0], [0.9, 2.0]])}  # per-example gradients
    >>> grads = {"w": jnp.array([0.5, 0.5])}
    >>> updates, state = tx.update(grads, state, params, retain=retain)
    >>> [round(float(u), 3) for u in updates["w"]], float(state[-1].kept)
    ([-0.05, 0.0], 0.5)
    """
    constraints = parse_constraints(decrease, increase)
    rule = coordinatewise() if rule is None else rule
    if not isinstance(rule, Rule):
        raise TypeError(f"rule={rule!r} is not a Rule: give one, as in rule=coordinatewise().")
    if isinstance(confidence, Real) and not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: give a probability in (0, 1), such as 0.95.")
    if test not in TESTS:
        raise ValueError(f"test={test!r}: choose one of {', '.join(map(repr, TESTS))}.")

    if isinstance(spending, Spending):
        raise TypeError(
            "spending is a Spending, such as online_fdr(), which learns from what passes as a "
            "whole: give it to certify_updates(), and a function of the step here."
        )
    injected = isinstance(warmup_steps, jax.Array)  # by inject_hyperparams
    if not injected and not (
        isinstance(warmup_steps, Integral) and 0 <= warmup_steps <= np.iinfo(np.int32).max
    ):
        raise ValueError(
            f"warmup_steps={warmup_steps!r}: give a whole number of updates, at least 0."
        )
    if rule.evidence_decay and rule.needs != "moments":
        raise ValueError(
            f"rule {rule.name!r} has evidence_decay={rule.evidence_decay} but needs "
            f"{rule.needs!r}: only moments can be averaged over time."
        )
    settings = fixed_settings(
        confidence=confidence, test=test, rule=rule.name, evidence_decay=rule.evidence_decay,
        warmup_steps=None if injected else warmup_steps or None,
    )  # fmt: skip
    requires = Requirements(constraints, rule.needs, settings)

    def init(params: Any) -> Any:
        named, treedef = leaf_paths(params)
        if rule.needs != "nothing":
            check_real("params", named)
        average = {}
        if rule.evidence_decay:
            average = {c.name: empty_average(params) for c in constraints}
        return FeasibleUpdatesState(
            step=scalar(jnp.int32),
            kept=scalar(),
            kept_per_leaf=filled(treedef, named, [scalar() for _ in named]),
            pass_rate={c.name: scalar() for c in constraints},
            confidence=scalar(),
            level=scalar(),
            expected_false=scalar(),
            average=average,
            rule_state=rule.init(params),
            requires=requires,
        )

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        check_updates(updates, params)
        given = {c.name: extra_args.get(c.name) for c in constraints}
        # On an explicit mesh updates and evidence may lie differently, and rules cut them up.
        apply = automatic(masked_update, (updates, state))
        return apply(updates, state, params, given)

    def masked_update(updates, state, params, given):
        named, treedef = leaf_paths(updates)
        if rule.needs != "nothing":
            check_real("updates", named)
        real = [(path, jnp.asarray(leaf)) for path, leaf in named if not is_hole(leaf)]
        fresh = {c.name: evidence_of(c.name, given, updates, rule.needs) for c in constraints}
        evidence, average = dict(fresh), dict(state.average)
        for name, before in state.average.items():
            evidence[name], average[name] = average_in(before, fresh[name], rule.evidence_decay)
        trusted = confidence(state.step) if callable(confidence) else confidence
        trusted = jnp.asarray(trusted, jnp.float32)
        level = 1 - trusted
        if spending is not None:  # nothing is spent while nothing passes
            level = level * spending(jnp.maximum(state.step - warmup_steps, 0))
        proposal = Proposal(
            paths=tuple(path for path, _ in real),
            updates=tuple(leaf for _, leaf in real),
            constraints=constraints,
            evidence=evidence,
            critical={n: critical_value_at(test, level, e.count) for n, e in evidence.items()},
            step=state.step,
            level=dict.fromkeys(evidence, level),
            test=test,
            fresh=fresh,
            params=_leaves_like(params, named, treedef),
            kept=jnp.where(state.step > warmup_steps, state.kept, 1),
        )
        selection, rule_state = rule.select(proposal, state.rule_state)
        selection = _finite(selection, proposal.updates)
        if injected or warmup_steps:
            selection = _nothing_until(state.step >= warmup_steps, selection)
        masked = selected(selection, proposal.updates)
        counts = _counted(selection, proposal.updates)
        new_state = FeasibleUpdatesState(
            step=jnp.asarray(optax.safe_increment(state.step)),
            kept=counts.kept,
            kept_per_leaf=filled(treedef, named, counts.kept_per_leaf),
            pass_rate=counts.pass_rate,
            confidence=trusted,
            level=level,
            expected_false=counts.expected_false,
            average=average,
            rule_state=rule_state,
            requires=state.requires,
        )
        return filled(treedef, named, masked), new_state

    return optax.GradientTransformationExtraArgs(init, update)


def _leaves_like(params: Any, named: list, treedef: Any) -> tuple[jax.Array, ...] | None:
    if params is None:
        return None
    places = treedef.flatten_up_to(params)
    return tuple(
        jnp.asarray(place) for (_, leaf), place in zip(named, places, strict=True)
        if not is_hole(leaf)
    )  # fmt: skip


def _finite(selection: Selection, updates: tuple[jax.Array, ...]) -> Selection:
    # Whatever the rule says, a step that is not finite helps nobody.
    updates = selection.updates or updates

    def finite(masks):
        return tuple(m & jnp.isfinite(leaf) for m, leaf in zip(masks, updates, strict=True))

    keep = tuple(
        k & jnp.isfinite(leaf) if k.dtype == bool else jnp.where(jnp.isfinite(leaf), k, 0)
        for k, leaf in zip(selection.keep, updates, strict=True)
    )
    passes = {name: finite(masks) for name, masks in selection.passes.items()}
    return selection._replace(keep=keep, passes=passes)


def _nothing_until(warm: jax.Array, selection: Selection) -> Selection:
    keep = tuple(jnp.where(warm, k, jnp.zeros_like(k)) for k in selection.keep)
    return selection._replace(keep=keep)


class _Counts(NamedTuple):
    kept: jax.Array
    kept_per_leaf: list[jax.Array]
    pass_rate: dict[str, jax.Array]
    expected_false: jax.Array


def _counted(selection: Selection, updates: tuple[jax.Array, ...]) -> _Counts:
    moved = [leaf != 0 for leaf in updates]

    def moving(masks):
        parts = zip(moved, masks, strict=True)
        return [jnp.where(m, k, jnp.zeros_like(k)) for m, k in parts]

    keep = moving(selection.keep)
    masks = [moved, keep, *map(moving, selection.passes.values())]
    for tests in selection.tests:
        masks += [[~jnp.isnan(t) for t in tests.statistics], [t < 0 for t in tests.statistics]]
    per_leaf = count_each(*masks)  # all at once, for it is what takes the time here
    total, kept, *rest = (sum(counts, jnp.float32(0)) for counts in per_leaf)
    passed, tested = rest[: len(selection.passes)], rest[len(selection.passes) :]
    false = jnp.float32(0 if selection.tests else -1)
    for tests, many, negative in zip(selection.tests, tested[::2], tested[1::2], strict=True):
        false += expected_false(many, negative, tests.level)
    return _Counts(
        kept=_ratio(kept, total),
        kept_per_leaf=list(map(_ratio, per_leaf[1], per_leaf[0])),
        pass_rate={n: _ratio(p, total) for n, p in zip(selection.passes, passed, strict=True)},
        expected_false=jnp.minimum(false, kept),
    )


def _ratio(part: jax.Array, whole: jax.Array) -> jax.Array:
    return jnp.where(whole > 0, part / jnp.maximum(whole, 1), 0)
