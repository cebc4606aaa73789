"""One step: batches, evidence, update, mask, parameters."""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax

from feasible_jax.alignment import directional_derivatives, loss_change
from feasible_jax.feasibility import CertifyUpdatesState, FeasibleUpdatesState, Requirements
from feasible_jax.feasibility.requirements import merged_requirements
from feasible_jax.methods.method import Method, Problem
from feasible_jax.unlearning.batches import Drawn, Layout, draw_batch
from feasible_jax.unlearning.observation import method_gradient, observe


class LoopState(NamedTuple):
    """What a run carries from step to step.

    Attributes:
      params: the parameters, always finite.
      opt_state: the state of the optimizer and of the feasibility transformation.
      key: the random key of the next step.
      step: number of steps taken, an int32 scalar.
      alive: False from the first step on whose loss or parameters were not finite.
      idle: number of steps in a row up to now whose update was zero, an int32 scalar.
    """

    params: Any
    opt_state: Any
    key: jax.Array
    step: jax.Array
    alive: jax.Array
    idle: jax.Array


def first_state(params: Any, opt_state: Any, key: jax.Array) -> LoopState:
    """The state before the first step."""
    none = jnp.zeros((), jnp.int32)
    return LoopState(params, opt_state, key, none, jnp.ones((), bool), none)


class Limits(NamedTuple):
    """When a run is over.

    Attributes:
      steps: its number of steps, a float32 scalar.
      patience: how many updates in a row may be zero, an int32 scalar.
    """

    steps: jax.Array
    patience: jax.Array


def make_limits(steps: int, patience: int | None = None) -> Limits:
    """The limits of a run; None for endless patience."""
    endless = jnp.iinfo(jnp.int32).max
    return Limits(jnp.float32(steps), jnp.int32(endless if patience is None else patience))


class Fixed(NamedTuple):
    """What a run never changes.

    Attributes:
      original_params: the parameters before unlearning.
      extras: what the method prepared for its objectives.
      mask: what the method multiplies every update by, or None.
      beside: what goes with the examples of each set, by its name, or None.
    """

    original_params: Any
    extras: Any = None
    mask: Any = None
    beside: Any = None


class Record(NamedTuple):
    """What one step leaves in the history; see ``History`` for the fields.

    ``alive`` is False where the step was not taken.
    """

    losses: dict[str, jax.Array]
    kept: jax.Array
    kept_per_leaf: dict[str, jax.Array]
    pass_rate: dict[str, jax.Array]
    abstained: jax.Array
    mask: dict[str, jax.Array]
    certificate: dict[str, Any]
    alive: jax.Array


_State = TypeVar("_State")


def feasibility_states(opt_state: Any) -> list[FeasibleUpdatesState]:
    """The states of every ``feasible_updates`` inside an optimizer state, through any wrapper."""
    return _states(opt_state, FeasibleUpdatesState)


def certificate_states(opt_state: Any) -> list[CertifyUpdatesState]:
    """The states of every ``certify_updates`` inside an optimizer state, through any wrapper."""
    return _states(opt_state, CertifyUpdatesState)


def _states(opt_state: Any, kind: type[_State]) -> list[_State]:
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kind))
    return [leaf for leaf in leaves if isinstance(leaf, kind)]


def certified_constraints(opt_state: Any) -> dict[str, str]:
    """The kind of change each certificate is to be shown, by the constraint's name."""
    return {
        constraint.name: state.requires.needs
        for state in certificate_states(opt_state)
        for constraint in state.requires.constraints
    }


def chooses(method: Method, needs: dict[str, str]) -> set[str]:
    """The sets of which a batch takes part in choosing an update."""
    watched = {name for name, kind in needs.items() if kind != "nothing"}
    return {objective.data for objective in method.objectives} | watched


def make_step(
    problem: Problem,
    method: Method,
    tx: optax.GradientTransformationExtraArgs,
    needs: dict[str, str],
    batch_size: int,
    strategy: str,
    certified: dict[str, str] | None = None,
    certify_batch_size: int = 256,
    layout: Layout | None = None,
) -> Callable[[LoopState, dict[str, Any], Any, Limits], tuple[LoopState, Record]]:
    """A pure function that takes one step, ``(state, data, fixed, limits) -> (state, record)``.

    ``data`` holds the sets by name, or a ``Drawn`` of this step's batches, ``fixed`` the parameters
    before unlearning and what the method prepared, ``limits`` the length of the run: all traced, so
    that nothing large is baked into the program and runs of other lengths compile nothing anew.
    What a certificate tests on, ``certified`` by the constraint's name, is a batch of its own,
    drawn independently of all that chose the update. ``layout`` says how batches lie on a mesh,
    None on one device.
    """
    batch_sharding = layout.batches if layout else None
    spread_sets = layout.spread_sets if layout else frozenset()
    certified = certified or {}
    names = tuple(objective.name for objective in method.objectives)
    phases = method.phases or (names,)
    watched = {name: kind for name, kind in needs.items() if kind != "nothing"}
    numbers = {name: zlib.crc32(name.encode()) for name in sorted(chooses(method, needs))}

    def draw(key, name, data, size):
        if isinstance(data[name], Drawn):
            return data[name].choosing
        return draw_batch(key, data[name], size, batch_sharding, name in spread_sets)

    def certifying(name, data, batch_key):
        # Another key than the choosing batch's: the test must know nothing of the choice.
        key = jax.random.fold_in(jax.random.fold_in(batch_key, zlib.crc32(name.encode())), 1)
        handed_in = isinstance(data[name], Drawn)
        batch = data[name].certifying if handed_in else draw(key, name, data, certify_batch_size)
        make = directional_derivatives if certified[name] == "direction" else loss_change
        return make(problem.loss_fn, batch, batch_sharding=batch_sharding)

    def phase_of(step, progress):
        if method.schedule is None:
            return step % len(phases)
        return jnp.asarray(method.schedule(step, progress), jnp.int32)

    def step(state: LoopState, data, fixed: Fixed, limits):
        key, batch_key, loss_key = jax.random.split(state.key, 3)
        # Keyed by name, so that a set's batches do not depend on which others are drawn: a run and
        # its feasible twin of the same seed see the same examples.
        keys = {name: jax.random.fold_in(batch_key, number) for name, number in numbers.items()}
        batches = {name: draw(keys[name], name, data, batch_size) for name in numbers}
        # The same key draws the same rows.
        beside = {
            name: draw_batch(keys[name], rows, batch_size, batch_sharding)
            for name, rows in (fixed.beside or {}).items()
            if name in keys
        }
        here = problem._replace(original_params=fixed.original_params, extras=fixed.extras)
        seen = {
            name: observe(
                problem.loss_fn, state.params, batches[name], kind, strategy, batch_sharding
            )
            for name, kind in watched.items()
        }
        progress = state.step.astype(jnp.float32) / limits.steps

        def act(active):
            return method_gradient(
                method, here, state.params, batches, beside, seen, progress, loss_key, active
            )

        if len(phases) == 1:
            losses, gradient = act(phases[0])
        else:
            branches = [lambda active=active: act(active) for active in phases]
            losses, gradient = jax.lax.switch(phase_of(state.step, progress), branches)
        evidence = {name: observation.evidence for name, observation in seen.items()}
        evidence |= {f"{name}_change": certifying(name, data, batch_key) for name in certified}
        if fixed.mask is not None:
            evidence["method_mask"] = fixed.mask
        updates, opt_state = tx.update(gradient, state.opt_state, state.params, **evidence)
        params = optax.apply_updates(state.params, updates)

        observed = [jnp.isfinite(observation.loss) for observation in seen.values()]
        phase = phase_of(state.step, progress)
        finite = _finite(params) & _losses_finite(losses, observed, phases, phase)
        alive = state.alive & finite
        # A step that was not finite leaves no trace, in the optimizer's state neither.
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(alive, new, old),
            (params, opt_state),
            (state.params, state.opt_state),
        )
        observed_losses = {name: seen[name].loss.astype(jnp.float32) for name in seen}
        abstained = ~_moves(updates)
        record = _record(opt_state, {**observed_losses, **losses}, abstained, alive)
        taken = state.step + alive.astype(jnp.int32)
        # While a mask gathers evidence, that nothing passes says nothing.
        waiting = _warming_up(state.opt_state)
        idle = jnp.where(abstained & ~waiting, state.idle + 1, 0)
        return LoopState(params, opt_state, key, taken, alive, idle), record

    return step


def _finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _moves(updates: Any) -> jax.Array:
    return jnp.any(jnp.stack([jnp.any(leaf != 0) for leaf in jax.tree.leaves(updates)]))


def _warming_up(opt_state: Any) -> jax.Array:
    """Whether a mask still gathers evidence; it counts its own updates, which may not be steps."""
    left = [
        state.step < int(dict(state.requires.settings).get("warmup_steps", 0))
        for state in feasibility_states(opt_state)
    ]
    return jnp.any(jnp.stack([jnp.zeros((), bool), *left]))


def _losses_finite(losses, observed, phases, phase) -> jax.Array:
    acting = jnp.array([[name in names for name in losses] for names in phases], bool)[phase]
    values = jnp.array(list(losses.values()))
    return jnp.all(jnp.isfinite(values) | ~acting) & jnp.all(jnp.array([True, *observed]))


def _record(opt_state: Any, losses: dict[str, jax.Array], abstained, alive) -> Record:
    certificate = {}
    for last in certificate_states(opt_state)[-1:]:
        certificate = {
            "accepted": last.accepted,
            "scale": last.scale,
            "level": last.level,
            "p_value": last.p_value,
        }
    states = feasibility_states(opt_state)
    if not states:
        one = jnp.ones((), jnp.float32)
        return Record(losses, one, {}, {}, abstained, {}, certificate, alive)
    state = states[0]
    per_leaf = jax.tree_util.tree_leaves_with_path(state.kept_per_leaf)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in per_leaf]
    kept_per_leaf = dict(zip(names, (leaf for _, leaf in per_leaf), strict=True))
    mask = {"level": state.level, "expected_false": state.expected_false}
    return Record(
        losses, state.kept, kept_per_leaf, state.pass_rate, abstained, mask, certificate, alive
    )


__all__ = [
    "Fixed",
    "Limits",
    "LoopState",
    "Record",
    "Requirements",
    "certificate_states",
    "certified_constraints",
    "chooses",
    "feasibility_states",
    "first_state",
    "make_limits",
    "make_step",
    "merged_requirements",
]
