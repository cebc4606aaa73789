"""One step: batches, evidence, update, mask, parameters."""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from feasible_jax.feasibility import FeasibleUpdatesState, Requirements
from feasible_jax.methods.method import Method, Problem
from feasible_jax.unlearning.batches import draw_batch
from feasible_jax.unlearning.observation import method_gradient, observe


class LoopState(NamedTuple):
    """What a run carries from step to step.

    Attributes:
      params: the parameters, always finite.
      opt_state: the state of the optimizer and of the feasibility transformation.
      key: the random key of the next step.
      step: number of steps taken, an int32 scalar.
      alive: False from the first step on whose loss or parameters were not finite.
    """

    params: Any
    opt_state: Any
    key: jax.Array
    step: jax.Array
    alive: jax.Array


class Record(NamedTuple):
    """What one step leaves in the history; see ``History`` for the fields.

    ``alive`` is False where the step was not taken.
    """

    losses: dict[str, jax.Array]
    kept: jax.Array
    kept_per_leaf: dict[str, jax.Array]
    pass_rate: dict[str, jax.Array]
    alive: jax.Array


def feasibility_states(opt_state: Any) -> list[FeasibleUpdatesState]:
    """The states of every ``feasible_updates`` inside an optimizer state, through any wrapper."""

    def is_state(node):
        return isinstance(node, FeasibleUpdatesState)

    return [leaf for leaf in jax.tree.leaves(opt_state, is_leaf=is_state) if is_state(leaf)]


def merged_requirements(opt_state: Any) -> dict[str, str]:
    """The evidence to supply at each update: the kind needed, by the constraint's name."""
    needs: dict[str, str] = {}
    rank = ("nothing", "mean", "moments", "per_example")
    for requires in (state.requires for state in feasibility_states(opt_state)):
        for constraint in requires.constraints:
            now = needs.get(constraint.name, "nothing")
            needs[constraint.name] = max(now, requires.needs, key=rank.index)
    return needs


def make_step(
    problem: Problem,
    method: Method,
    tx: optax.GradientTransformationExtraArgs,
    needs: dict[str, str],
    batch_size: int,
    strategy: str,
) -> Callable[[LoopState, dict[str, Any], Any, jax.Array], tuple[LoopState, Record]]:
    """A pure function that takes one step, ``(state, data, original, steps) -> (state, record)``.

    ``data`` holds the sets by name, ``original`` the parameters before unlearning and ``steps`` the
    length of the run: all traced, so that nothing large is baked into the program and runs of
    other lengths compile nothing anew.
    """
    names = tuple(objective.name for objective in method.objectives)
    phases = method.phases or (names,)
    watched = {name: kind for name, kind in needs.items() if kind != "nothing"}
    used = sorted({objective.data for objective in method.objectives} | set(watched))
    numbers = {name: zlib.crc32(name.encode()) for name in used}

    def step(state: LoopState, data, original, steps):
        key, batch_key, loss_key = jax.random.split(state.key, 3)
        # Keyed by name, so that a set's batches do not depend on which others are drawn: a run and
        # its feasible twin of the same seed see the same examples.
        batches = {
            name: draw_batch(jax.random.fold_in(batch_key, number), data[name], batch_size)
            for name, number in numbers.items()
        }
        here = problem._replace(original_params=original)
        seen = {
            name: observe(problem.loss_fn, state.params, batches[name], kind, strategy)
            for name, kind in watched.items()
        }
        progress = state.step.astype(jnp.float32) / steps

        def act(active):
            return method_gradient(
                method, here, state.params, batches, seen, progress, loss_key, active
            )

        if len(phases) == 1:
            losses, gradient = act(phases[0])
        else:
            branches = [lambda active=active: act(active) for active in phases]
            losses, gradient = jax.lax.switch(state.step % len(phases), branches)
        evidence = {name: observation.evidence for name, observation in seen.items()}
        updates, opt_state = tx.update(gradient, state.opt_state, state.params, **evidence)
        params = optax.apply_updates(state.params, updates)

        observed = [jnp.isfinite(observation.loss) for observation in seen.values()]
        finite = _finite(params) & _losses_finite(losses, observed, phases, state.step)
        alive = state.alive & finite
        # A step that was not finite leaves no trace, in the optimizer's state neither.
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(alive, new, old),
            (params, opt_state),
            (state.params, state.opt_state),
        )
        observed_losses = {name: seen[name].loss.astype(jnp.float32) for name in seen}
        record = _record(opt_state, {**observed_losses, **losses}, alive)
        return LoopState(
            params, opt_state, key, state.step + alive.astype(jnp.int32), alive
        ), record

    return step


def _finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _losses_finite(losses, observed, phases, step) -> jax.Array:
    acting = jnp.array([[name in phase for name in losses] for phase in phases])[step % len(phases)]
    values = jnp.array(list(losses.values()))
    return jnp.all(jnp.isfinite(values) | ~acting) & jnp.all(jnp.array([True, *observed]))


def _record(opt_state: Any, losses: dict[str, jax.Array], alive: jax.Array) -> Record:
    states = feasibility_states(opt_state)
    if not states:
        return Record(losses, jnp.ones((), jnp.float32), {}, {}, alive)
    state = states[0]
    per_leaf = jax.tree_util.tree_leaves_with_path(state.kept_per_leaf)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in per_leaf]
    kept_per_leaf = dict(zip(names, (leaf for _, leaf in per_leaf), strict=True))
    return Record(losses, state.kept, kept_per_leaf, state.pass_rate, alive)


__all__ = [
    "LoopState",
    "Record",
    "Requirements",
    "feasibility_states",
    "make_step",
    "merged_requirements",
]
