"""The Optax transformation that tests a whole update on data which did not choose it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from feasible_jax.alignment import DEFAULT_TEST, MeanTest, Spending, resolve_mean_test
from feasible_jax.feasibility.constraints import Constraint, parse_constraints
from feasible_jax.feasibility.evidence import check_updates, is_hole, scalar
from feasible_jax.feasibility.requirements import Requirements, fixed_settings
from feasible_jax.moments.shards import automatic

CHANGES = ("loss", "direction")


class CertifyUpdatesState(NamedTuple):
    """What ``certify_updates`` remembers, and what an auditor wants to see.

    Attributes:
      step: number of updates so far, an int32 scalar.
      accepted: whether the last update passed, whole or shortened.
      scale: what the last update was multiplied by: 1, 1/2, 1/4, ..., or 0 where it did not pass.
      p_value: of each constraint's test by its name, at that scale, or at the last one tried; 1
        where nothing was tested because the update was zero already.
      level: the level that the last step could use; its tests share it.
      spent: the sum of the levels of all steps that tested; the union bound on the probability that
        any applied update breaks a constraint, and on their expected number. Where levels are
        earned, it is these bounds on average.
      tested: number of updates so far that were not zero already, as ``spending`` counts them.
      tests: number of tests so far, each constraint and scale counted.
      abstentions: number of updates so far that became, or were, zero.
      abstentions_in_a_row: how many of those since the last one that passed.
      spending: what ``spending`` remembers; empty where it remembers nothing.
      requires: the evidence to supply, which a loop reads off the state through any wrapper.

    >>> state = certify_updates(decrease=("retain",)).init(jnp.zeros(2))
    >>> bool(state.accepted), sorted(state.p_value), state.requires.needs
    (False, ['retain'], 'loss')
    """

    step: jax.Array
    accepted: jax.Array
    scale: jax.Array
    p_value: dict[str, jax.Array]
    level: jax.Array
    spent: jax.Array
    tested: jax.Array
    tests: jax.Array
    abstentions: jax.Array
    abstentions_in_a_row: jax.Array
    spending: Any
    requires: Requirements


def certify_updates(
    decrease: str | Sequence[str] = (),
    increase: str | Sequence[str] = (),
    confidence: float | Callable[[jax.Array], Any] = 0.95,
    test: str | MeanTest = DEFAULT_TEST,
    backtrack: int = 3,
    spending: Callable[[jax.Array], Any] | Spending | None = None,
    population_size: int | Mapping[str, int] | None = None,
    tolerance: float | Mapping[str, float] = 0.0,
    change: str = "loss",
    axis_name: str | tuple[str, ...] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Apply an update only if its change of every constraint's objective is probably harmless.

    Chain it after ``feasible_updates``, last of all. It tests the whole update, as it is about to
    be added, on one number an example: ``E[change] >= tolerance`` is rejected for an objective that
    must not increase, ``E[-change] >= tolerance`` for one that must not decrease. Where a test does
    not reject, the step is halved and tested again, up to ``backtrack`` times; where none does, the
    update becomes zero, which is always harmless.

    The guarantee: if the examples are independent of the choice of the update (another batch than
    the mask's), and the test holds its size on them, then an update that breaks a constraint on
    average over the population is applied with probability at most ``1 - confidence`` at each
    step. Every constraint has to pass at the whole level (an intersection-union test); the scales
    share it, half for the whole step, a quarter for the half, and so on. Over a run, see
    ``spending`` and ``state.spent``.

    Args:
      decrease: names of the objectives that must not increase, such as the retain loss.
      increase: names of the objectives that must not decrease.
      confidence: in (0, 1), or an Optax schedule, ``step -> confidence``.
      test: ``"normal"``, ``"student"``, ``"hall"``, ``"bootstrap"`` and others by name, or a
        ``MeanTest``; see ``alignment.mean_tests`` for what each promises. The default holds its
        size on the skewed changes of trained models.
      backtrack: how often a step that fails is halved, at least 0. First-order evidence without a
        tolerance is tested once: halving a step does not change its direction.
      spending: the share of the level that each step may use, ``step -> share``, as from
        ``alpha_spending()``, which bounds the probability that any step of a run does harm, counted
        over the steps that have something to test, which those of a warm-up have not; or
        ``online_fdr()``, which bounds the expected number of applied updates that do, by a share of
        the expected number applied; None for all of it at every step.
      population_size: where the examples were drawn without replacement, the size of the
        population, or one by name: the finite-population correction. ``fj.unlearn`` draws from its
        sets with replacement, and refuses it for them.
      tolerance: how much a step may move an objective the wrong way, on average, in units of the
        loss, at least 0, or one by name. At 0 every step has to do good, which where a loss is
        fitted to nearly 0 hardly any does; with more, a step that does harm beyond it is what is
        applied with probability at most ``1 - confidence``, and harm adds up to at most the
        tolerance times the steps.
      change: the evidence that ``fj.unlearn`` is to build: ``"loss"`` for ``loss_change``,
        ``"direction"`` for ``directional_derivatives``.
      axis_name: inside ``shard_map``, the mesh axes over which the examples are spread; one number
        an example is gathered.

    Returns:
      A ``GradientTransformationExtraArgs``. Its ``update(updates, state, params, **evidence)``
      takes for each constraint ``<name>_change=``, a function ``(params, updates) -> (B,)``
      changes, as from ``loss_change`` or ``directional_derivatives``; a ``weights`` attribute, 0
      for padding, is heeded. Other extra arguments are ignored.

    Raises:
      ValueError: if no constraint is named, or one twice; for a confidence outside (0, 1), an
        unknown test or kind of change, a negative ``backtrack`` or ``tolerance``, a
        ``population_size`` below 1; from ``update``, for changes that are not ``(B,)``, more of
        them than the population holds, or inside ``optax.masked`` or ``optax.partition``.
      TypeError: from ``update``, if a constraint's evidence or ``params`` is missing.

    >>> import jax.numpy as jnp, optax
    >>> from feasible_jax.alignment import loss_change
    >>> tx = optax.chain(optax.sgd(0.1), certify_updates(decrease=("retain",)))
    >>> params, batch = jnp.array(1.0), 1.0 + 0.1 * jnp.arange(64.0)
    >>> retain = loss_change(lambda w, x: x * w * w, batch)
    >>> update = jax.jit(tx.update)
    >>> good, state = update(jnp.array(1.0), tx.init(params), params, retain_change=retain)
    >>> bad, state = update(jnp.array(-1.0), state, params, retain_change=retain)
    >>> round(float(good), 2), float(bad), int(state[-1].abstentions)
    (-0.1, 0.0, 1)
    """
    constraints = parse_constraints(decrease, increase)
    mean_test = resolve_mean_test(test)
    _check(confidence, backtrack, change)
    settings = fixed_settings(
        confidence=confidence, test=test, backtrack=backtrack, tolerance=tolerance,
        spending=spending.name if isinstance(spending, Spending) else None,
    )  # fmt: skip
    sizes = _by_name("population_size", population_size, constraints, None)
    for name, size in sizes.items():
        if isinstance(size, (int, float)) and not size >= 1:
            raise ValueError(f"population_size={size} of {name!r}: give a number of at least 1.")
    requires = Requirements(
        constraints, change, settings, tuple(n for n, size in sizes.items() if size is not None)
    )
    tolerances = _by_name("tolerance", tolerance, constraints, 0.0)
    for name, value in tolerances.items():
        if isinstance(value, (int, float)) and not value >= 0:
            raise ValueError(f"tolerance={value} of {name!r}: give a number of at least 0.")

    def init(params: Any) -> Any:
        del params
        return CertifyUpdatesState(
            step=scalar(jnp.int32),
            accepted=scalar(bool),
            scale=scalar(),
            p_value={c.name: jnp.ones((), jnp.float32) for c in constraints},
            level=scalar(),
            spent=scalar(),
            tested=scalar(jnp.int32),
            tests=scalar(jnp.int32),
            abstentions=scalar(jnp.int32),
            abstentions_in_a_row=scalar(jnp.int32),
            spending=spending.init() if isinstance(spending, Spending) else (),
            requires=requires,
        )

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        changes = {c.name: _evidence(c.name, extra_args) for c in constraints}
        if params is None:
            raise TypeError(
                "certify_updates tests what an update does to params: pass them to update()."
            )
        if any(isinstance(n, optax.MaskedNode) for n in jax.tree.leaves(params, is_leaf=is_hole)):
            raise ValueError(
                "certify_updates tests the whole update, but Optax has masked parameters away: "
                "chain it after masked(...) or partition(...), not inside."
            )

        check_updates(updates, params)

        def p_values(scale):
            scaled = _scaled(updates, scale)
            return jnp.stack(
                [
                    _p_value(mean_test, c, changes[c.name], params, scaled,
                             sizes[c.name], tolerances[c.name], axis_name)
                    for c in constraints
                ]
            )  # fmt: skip

        trusted = confidence(state.step) if callable(confidence) else confidence
        level = 1 - jnp.asarray(trusted, jnp.float32)
        level = level * jnp.asarray(_share(spending, state), jnp.float32)
        linear = all(getattr(f, "first_order", False) for f in changes.values())
        strict = all(isinstance(t, (int, float)) and t == 0 for t in tolerances.values())
        halvings = 0 if linear and strict else backtrack
        # A step that is not finite helps nobody, also where no example is touched by it.
        moving = _moving(updates) & _finite(updates)
        passed, halved, found = _search(p_values, moving, level, halvings)

        scale = jnp.where(passed, jnp.exp2(-halved.astype(jnp.float32)), 0)
        tried = jnp.where(moving, halved + 1, 0)
        none = jnp.zeros((), jnp.int32)
        new_state = CertifyUpdatesState(
            step=jnp.asarray(optax.safe_increment(state.step)),
            accepted=passed,
            scale=scale,
            p_value={c.name: found[i] for i, c in enumerate(constraints)},
            level=level,
            spent=state.spent + jnp.where(moving, level, 0),
            tested=state.tested + moving.astype(jnp.int32),
            tests=state.tests + tried * len(constraints),
            abstentions=state.abstentions + (~passed).astype(jnp.int32),
            abstentions_in_a_row=jnp.where(passed, none, state.abstentions_in_a_row + 1),
            spending=_remembered(spending, state, moving, passed),
            requires=state.requires,
        )
        return _scaled(updates, scale), new_state

    return optax.GradientTransformationExtraArgs(init, update)


def _check(confidence: Any, backtrack: Any, change: str) -> None:
    if isinstance(confidence, (int, float)) and not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: give a probability in (0, 1), such as 0.95.")
    if not isinstance(backtrack, int) or backtrack < 0:
        raise ValueError(
            f"backtrack={backtrack!r}: give a whole Python number of at least 0 (under "
            "inject_hyperparams, name it in static_args)."
        )
    if change not in CHANGES:
        raise ValueError(f"change={change!r}: choose one of {', '.join(map(repr, CHANGES))}.")


def _share(spending: Any, state: CertifyUpdatesState) -> Any:
    if spending is None:
        return 1
    if isinstance(spending, Spending):
        return spending.share(state.spending)
    return spending(state.tested)  # steps that test nothing spend nothing


def _remembered(
    spending: Any, state: CertifyUpdatesState, tested: jax.Array, passed: jax.Array
) -> Any:
    if not isinstance(spending, Spending):
        return state.spending
    return jnp.where(tested, spending.after(state.spending, passed), state.spending)


def _by_name(
    what: str, value: Any, constraints: tuple[Constraint, ...], default: Any
) -> dict[str, Any]:
    """An argument that is one for all constraints, or one by name."""
    names = [c.name for c in constraints]
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    unknown = sorted(set(value) - set(names))
    if unknown:
        raise ValueError(
            f"{what} names {unknown}, which no constraint is called: the constraints are {names}."
        )
    return {name: value.get(name, default) for name in names}


def _evidence(name: str, given: dict[str, Any]) -> Callable[[Any, Any], jax.Array]:
    found = given.get(f"{name}_change")
    if not callable(found):
        raise TypeError(
            f"update() needs {name}_change=, a function (params, updates) -> (B,) such as "
            f"fj.loss_change(loss_fn, batch); got {type(found).__name__}."
        )
    return found


def _p_value(
    test: MeanTest, constraint: Constraint, change, params, updates, population_size, tolerance,
    axis_name,
) -> jax.Array:  # fmt: skip
    values = jnp.asarray(change(params, updates))
    weights = getattr(change, "weights", None)
    if values.ndim != 1 or (weights is not None and weights.shape != values.shape):
        have = "" if weights is None else f", its weights {weights.shape}"
        raise ValueError(
            f"{constraint.name}_change returned shape {values.shape}{have}: give one number an "
            "example, (B,)."
        )
    if axis_name is not None:
        values = _gather(values, axis_name)
        if weights is not None:
            weights = _gather((weights != 0).astype(values.dtype), axis_name)
    if (
        isinstance(population_size, (int, float))
        and weights is None
        and values.size > population_size
    ):
        raise ValueError(
            f"{constraint.name}_change gave {values.size} changes of a population of "
            f"{population_size}: without replacement there are no more; leave population_size out "
            "where examples are drawn with replacement."
        )
    sign = jnp.asarray(constraint.sign, values.dtype)
    harm = sign * values - jnp.asarray(tolerance, values.dtype)
    p_value = automatic(lambda x, w: test.p_value(x, w, population_size), 0)
    return p_value(harm, weights).astype(jnp.float32)


def _gather(values: jax.Array, axis_name: str | tuple[str, ...]) -> jax.Array:
    """The values of all shards, alike on all: a sum is known to be, a gather is not."""
    mine = jnp.arange(jax.lax.axis_size(axis_name)) == jax.lax.axis_index(axis_name)
    rows = jnp.where(mine[:, None], values[None], jnp.zeros_like(values)[None])
    return jax.lax.psum(rows, axis_name).reshape(-1)


def _search(p_values, moving, level, halvings) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``(passed, number of halvings, p-values)`` of the longest step that passes."""

    def attempt(halved):
        share = jnp.exp2(-jnp.minimum(halved + 1, halvings).astype(jnp.float32))
        found = p_values(jnp.exp2(-halved.astype(jnp.float32)))
        # The whole step of a zero update would be tested too: nothing is left to pass. Nor is
        # anything at a level that is none, as where it is spent, not even on certainty.
        possible = moving & (level > 0) & (level < 1)
        return possible & jnp.all(found <= level * share), jnp.where(moving, found, 1)

    first = jnp.zeros((), jnp.int32)
    passed, found = attempt(first)
    if halvings == 0:
        return passed, first, found

    # Outside the loop first: most steps pass at once, and loops are slow for convolutions on CPUs.
    def go_on(carry):
        passed, halved, _ = carry
        return moving & ~passed & (halved < halvings)

    def shorter(carry):
        halved = carry[1] + 1
        passed, found = attempt(halved)
        return passed, halved, found

    return jax.lax.while_loop(go_on, shorter, (passed, first, found))


def _moving(updates: Any) -> jax.Array:
    leaves = [leaf for leaf in jax.tree.leaves(updates, is_leaf=is_hole) if not is_hole(leaf)]
    return jnp.any(jnp.stack([jnp.zeros((), bool), *(jnp.any(leaf != 0) for leaf in leaves)]))


def _finite(updates: Any) -> jax.Array:
    leaves = [leaf for leaf in jax.tree.leaves(updates, is_leaf=is_hole) if not is_hole(leaf)]
    return jnp.all(jnp.stack([jnp.ones((), bool), *(jnp.isfinite(u).all() for u in leaves)]))


def _scaled(updates: Any, scale: jax.Array) -> Any:
    def one(leaf):
        if is_hole(leaf):
            return leaf
        leaf = jnp.asarray(leaf)
        # Powers of two: nothing is rounded. And 0 times an infinity is not 0.
        return jnp.where(scale > 0, leaf * scale.astype(leaf.dtype), jnp.zeros_like(leaf))

    return jax.tree.map(one, updates, is_leaf=is_hole)
