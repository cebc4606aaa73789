"""`unlearn`: run a base method, with or without feasible updates, on sets or on streams."""

import os
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding

from feasible_jax.feasibility.requirements import described, longest_warmup, without_replacement
from feasible_jax.methods.method import Method, Problem, check_method
from feasible_jax.moments.per_example import check_params
from feasible_jax.unlearning.bad_input import (
    check_certifying,
    check_checkpoint,
    check_prepares,
    check_replacement,
    check_rewinds,
    check_sizes,
    check_takes,
    check_warmup,
)
from feasible_jax.unlearning.batches import Drawn
from feasible_jax.unlearning.chunks import is_over, make_chunk
from feasible_jax.unlearning.feed import Feed, Role
from feasible_jax.unlearning.fingerprint import fingerprint
from feasible_jax.unlearning.history import History, history_of
from feasible_jax.unlearning.host import from_host
from feasible_jax.unlearning.no_direction import no_direction
from feasible_jax.unlearning.placement import (
    check_divides,
    layout_of,
    mesh_of,
    on_mesh,
)
from feasible_jax.unlearning.prepare import prepare
from feasible_jax.unlearning.progress import progress_bar
from feasible_jax.unlearning.rewind import Rewind
from feasible_jax.unlearning.saved_run import SavedRun, Standing
from feasible_jax.unlearning.sets import join_sets, warn_of_shared
from feasible_jax.unlearning.step import (
    LoopState,
    certified_constraints,
    chooses,
    first_state,
    make_limits,
    make_step,
    merged_requirements,
)
from feasible_jax.unlearning.streams import Stream, first_batches
from feasible_jax.unlearning.transformation import chained, init_state

# Folded into the key of a run for what is prepared; a large number, as no step counts so far.
_PREPARING = 0x70726570


class Stop(NamedTuple):
    """Why a run ended before its last step.

    Attributes:
      step: number of steps taken.
      reason: one sentence.

    >>> Stop(10, "on_chunk asked to stop").step
    10
    """

    step: int
    reason: str


class UnlearnResult(NamedTuple):
    """The outcome of ``unlearn``.

    Attributes:
      params: the parameters after the last step, or after that of ``rewound_to``; always finite.
      history: per-step arrays of all steps.
      stop: None after a full run, else when and why it ended early.
      opt_state: the state of the optimizer and of the feasibility transformation after that step.
      rewound_to: with ``rewind_to``, the number of steps after which the forget error was nearest
        to the one wanted; None without. The history is of all steps all the same.

    >>> history = History({}, np.ones(2), {}, {}, np.zeros(2, bool))
    >>> UnlearnResult(jnp.zeros(2), history, None, ()).stop is None
    True
    """

    params: Any
    history: History
    stop: Stop | None
    opt_state: Any
    rewound_to: int | None = None


def unlearn(
    loss_fn: Callable[[Any, Any], jax.Array],
    params: Any,
    *,
    forget: Any,
    retain: Any,
    method: Method,
    optimizer: optax.GradientTransformation,
    feasibility: optax.GradientTransformation | None = None,
    steps: int,
    batch_size: int = 64,
    certify_batch_size: int = 256,
    patience: int | None = 100,
    key: jax.Array | int = 0,
    strategy: str = "auto",
    batch_sharding: NamedSharding | None = None,
    hyperparams: Mapping[str, float] | None = None,
    constraint_data: Mapping[str, Any] | None = None,
    predict_fn: Callable[[Any, Any], jax.Array] | None = None,
    chunk_size: int = 25,
    on_chunk: Callable[[int, Any], bool | None] | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: float = 60.0,
    resume: bool = False,
    rewind_to: float | tuple[Any, Any] | None = None,
    progress: bool = True,
) -> UnlearnResult:
    """Unlearn the forget set with a base method, optionally through feasible updates.

    A method that prepares something does so first, from the whole sets. Each step draws a batch of
    every set it needs (independent draws with replacement), takes the evidence once and shares it
    between the base method and the test, lets the optimizer propose an update, masks it, and adds
    what is left. A certificate in the chain is shown batches of its own, drawn independently of
    those that chose the update. Steps run under one ``lax.scan`` a chunk, except on a CPU with
    convolutions, which XLA makes slow inside a loop: there each jitted step is dispatched.

    A run takes place where its arrays are: on one device, or spread over the mesh that parameters
    and sets have been put on, of one process or of many. The state lies like the parameters, and a
    few times their size crosses the mesh at each step, see the page "Many devices, many hosts, much
    data".

    Args:
      loss_fn: ``(params, example) -> scalar``, the training loss of ONE example.
      params: the trained parameters.
      forget: the forget set, a tree of arrays with a leading axis of examples; or a stream, which
        is anything else that can be iterated over and yields such trees, batches all of one shape.
        Of a stream one batch chooses the update, and those after it certify it. What begins anew
        when it is iterated over again does so at its end.
      retain: the retain set, likewise.
      method: a base method, such as ``fj.methods.neg_grad_plus()``.
      optimizer: any Optax optimizer; it sees the method's gradient.
      feasibility: what comes last in the chain, such as ``fj.feasible_updates(...)``; None for the
        plain method. The evidence that it asks for is computed and handed over by name: constraints
        ``"forget"`` and ``"retain"`` are tested on the training loss of those sets.
      steps: number of steps, at least 1.
      batch_size: examples drawn from each set at a step, at least 1; two or more where variances
        are needed. It may exceed the number of examples: the test is about the mean of the set, and
        more draws from it are more evidence about that. Batches of a stream are as they come.
      certify_batch_size: examples drawn for each constraint of a ``certify_updates``, at least 2;
        of a stream, as many batches as make up so many. The fewer examples carry the harm, the more
        it takes to hold the level, see ``gaffke_test``.
      patience: how many updates in a row may be zero, those of a mask's warm-up not counted, before
        a run with constraints ends and says why in ``result.stop``; None never to give up.
      key: a random key, or a seed.
      strategy: how gradient moments are taken, see ``grad_moments``.
      batch_sharding: how the examples of every batch are spread over a mesh, as in
        ``NamedSharding(mesh, P("data"))``; None to spread them like the sets. Sizes of batches are
        multiples of the number of shards.
      hyperparams: values for an optimizer made by ``optax.inject_hyperparams``; a sweep over them
        compiles once.
      constraint_data: further sets by constraint name, such as a group whose loss must not rise.
      predict_fn: ``(params, inputs) -> logits``, for the methods that ask for it.
      chunk_size: steps between two looks at the run; progress, ``on_chunk`` and the check for
        non-finite losses happen then.
      on_chunk: ``(steps taken, params) -> stop?``, called after each chunk; True ends the run.
      checkpoint: a folder that says at any time where the run stands: parameters, state of the
        optimizer and of the tests, history, key, settings. It is written before the first step, at
        the end, at Ctrl-C, and in between every ``checkpoint_every`` seconds, aside and then
        renamed, so that no interruption leaves half of one. None to write nothing.
      checkpoint_every: seconds, at least 0; 0 writes after every chunk.
      resume: whether to go on with the run in ``checkpoint``, bit for bit on one device; one that
        is not there is begun. Settings, parameters and sets must be the same. So must be what
        cannot be looked into: the loss, and numbers inside an optimizer that are not injected. A
        stream is given from its beginning, and what was taken of it is left out.
      rewind_to: an error of the forget set, a share in [0, 1]: the run takes all its steps, and
        then goes back to the parameters, of those after each chunk, whose error on the whole forget
        set is nearest to it; of several equally near, to the latest. Or held-out examples, a pair
        ``(inputs, integer labels)`` such as ``fj.Examples``: the error wanted is then that of the
        last parameters on them. With examples distributed like the forget set this is the +R of
        SCRUB+R (Kurmanji et al., 2023), for any method; there looks are one an epoch, here one a
        chunk. It needs ``predict_fn`` and a forget set of pairs ``(inputs, labels)``. What is kept
        to go back to, parameters and optimizer's state, lies in the memory of the host (of several
        processes, on the devices), and in the checkpoint: for a number one look, for examples one
        for each forget error that occurred, the latest, till the end. None to keep the last
        parameters.
      progress: show a progress bar (on a terminal only).

    Returns:
      An ``UnlearnResult``.

    Raises:
      ValueError: for sets that are empty or ragged or hold NaN, a loss that is not a scalar, a
        constraint without data, hyper-parameters that the optimizer does not have or takes from a
        schedule, sizes below 1 or that do not divide over the mesh, a mask that is still warming up
        when the run is over, a certificate with the ``population_size`` of a set, a stream that is
        too short for one step, changes its shapes, or gives the batch that chose to a certificate,
        a checkpoint that is damaged or of another run, a ``rewind_to`` that cannot be measured, or
        none for a method that goes back, such as ``fj.methods.scrub_r()``.
      TypeError: if ``method`` is not a ``Method``.
      FileExistsError: if a run is in ``checkpoint`` and ``resume`` is False.
      OSError: that says what to do, if ``checkpoint`` cannot be written or the disk is full.

    Warns:
      UserWarning: if examples of the forget set are in the retain set too, where both are used.
      RuntimeWarning: if a loss or a parameter stops being finite; the run then ends with the last
        finite parameters, and ``result.stop`` says at which step. Likewise if a stream ends.

    >>> import jax.numpy as jnp, optax
    >>> import feasible_jax as fj
    >>> loss = lambda w, example: 0.5 * (w @ example[0] - example[1]) ** 2
    >>> retain = (jnp.eye(2), jnp.array([1.0, 2.0]))
    >>> forget = (jnp.array([[1.0, 0.0]]), jnp.array([3.0]))
    >>> result = fj.unlearn(
    ...     loss, jnp.array([1.4, 2.0]), forget=forget, retain=retain,
    ...     method=fj.methods.gradient_ascent(), optimizer=optax.sgd(0.05),
    ...     feasibility=fj.feasible_updates(decrease=("retain",), confidence=0.9),
    ...     steps=10, batch_size=32)
    >>> bool(result.params[0] < 1.4), result.history.kept.shape
    (True, (10,))
    """
    key = jax.random.key(int(key)) if isinstance(key, (int, np.integer)) else key
    check_method(method)
    check_rewinds(method, rewind_to)
    sets = join_sets(forget, retain, constraint_data or {})
    streams = {name: given for name, given in sets.items() if isinstance(given, Stream)}
    data = {name: given for name, given in sets.items() if name not in streams}
    begun = first_batches(streams)
    check_prepares(method, streams)
    params = jax.tree.map(jnp.asarray, params)
    check_params(params)
    mesh = mesh_of((params, data, begun), batch_sharding)
    params, data = on_mesh((params, data), mesh)
    layout = layout_of(data | begun, batch_sharding)
    tx = chained(optimizer, feasibility, method.prepare is not None)
    opt_state = init_state(tx, params, hyperparams or {})
    needs = merged_requirements(opt_state)
    certified = certified_constraints(opt_state)
    check_sizes(data, begun, certified | needs, steps, batch_size, chunk_size, strategy)
    check_certifying(certify_batch_size, patience)
    check_replacement(without_replacement(opt_state), data)
    check_warmup(longest_warmup(opt_state), steps)
    check_checkpoint(checkpoint, checkpoint_every, resume)
    rewind = None if rewind_to is None else Rewind(rewind_to, predict_fn, sets["forget"])
    if rewind is not None:
        rewind.check(params)

    used = {objective.data for objective in method.objectives} | set(needs) | set(certified)
    if {"forget", "retain"} <= used & set(data):
        warn_of_shared(data, stacklevel=2)
    chosen_by = chooses(method, needs)
    if chosen_by & set(data):
        check_divides(layout, batch_size=batch_size)
    if set(certified) & set(data):
        check_divides(layout, certify_batch_size=certify_batch_size)
    roles = {name: Role(name in chosen_by, name in certified) for name in streams}
    feed = Feed(data, streams, roles, certify_batch_size, mesh, layout) if streams else None
    first = data if feed is None else feed.first

    # Only who tests can find that no direction is feasible.
    patience = patience if needs or certified else None
    saved = None
    if checkpoint is not None:
        about = _settings(
            method, steps, batch_size, certify_batch_size, patience, key, strategy, hyperparams,
            opt_state, params, first,
        )  # fmt: skip
        if rewind is not None:  # which looks there are to go back to depends on the chunks
            about |= rewind.settings() | {"chunk_size": int(chunk_size)}
        saved = SavedRun(checkpoint, checkpoint_every, resume, steps, about)

    problem = Problem(loss_fn, predict_fn, None)
    params, fixed = prepare(problem, method, params, data, jax.random.fold_in(key, _PREPARING))
    if method.prepare is not None:  # the state may hold the parameters that the run begins with
        opt_state = init_state(tx, params, hyperparams or {})
    state, fixed, limits = on_mesh(
        (_strong(first_state(params, opt_state, key)), fixed, make_limits(steps, patience)), mesh
    )
    chunk = _compiled_chunk(
        problem, method, tx, tuple(needs.items()), batch_size, strategy, tuple(certified.items()),
        certify_batch_size, chunk_size, layout, _Shapes((state, first, fixed, limits)),
    )  # fmt: skip

    standing = Standing(state) if saved is None else saved.begin(Standing(state))
    if feed is not None:
        feed.skip(int(standing.state.step))
    together = jax.process_count() == 1  # of several, one may be alone with what interrupts it
    try:
        with progress_bar(method.name, steps, progress, int(standing.state.step)) as report:
            while standing.stop is None and int(standing.state.step) < steps:
                state, record = chunk(standing.state, feed or data, fixed, limits)
                records, looks = standing.records, standing.looks
                taken, stop = int(state.step), None
                if record is not None:
                    records = (*records, record)
                    report(record)
                if rewind is not None:
                    looks = rewind.look(looks, state)
                if not state.alive:
                    stop = _not_finite(method, taken)
                elif feed is not None and feed.ended is not None and taken < steps:
                    stop = _ended(feed.ended, taken, steps)
                elif on_chunk is not None and on_chunk(taken, state.params) and taken < steps:
                    stop = "on_chunk asked to stop"
                elif is_over(state, limits) and taken < steps:
                    stop = no_direction(history_of(records), limits.patience.item())
                # At once: Ctrl-C finds all or nothing.
                standing = Standing(state, records, stop, looks)
                if saved is not None:
                    saved.keep(standing)
            if rewind is not None and len(standing.looks) > 1:
                chosen = rewind.chosen(standing.looks, standing.state.params)
                standing = standing._replace(looks=chosen)
        together = True
    finally:
        if saved is not None and together:
            saved.keep(standing, now=True)
    state, records, reason, looks = standing
    stop = None if reason is None else Stop(int(state.step), reason)
    history = history_of(records, reason)
    params, opt_state = state.params, state.opt_state
    if not looks:
        return UnlearnResult(params, history, stop, opt_state)
    (look,) = looks
    params, opt_state = from_host((look.params, look.opt_state), (params, opt_state))
    return UnlearnResult(params, history, stop, opt_state, look.step)


class _Shapes:
    """Arguments known to a cache by their shapes alone, and by where they live."""

    def __init__(self, args: tuple):
        self.args = args
        leaves, self._treedef = jax.tree.flatten(args)
        self._leaves = tuple((leaf.shape, str(leaf.dtype), leaf.sharding) for leaf in leaves)

    def __eq__(self, other):
        return (self._leaves, self._treedef) == (other._leaves, other._treedef)

    def __hash__(self):
        return hash((self._leaves, self._treedef))


@lru_cache(maxsize=256)  # a suite comes back to as many methods and arms with every seed
def _compiled_chunk(
    problem, method, tx, needs, batch_size, strategy, certified, certify_batch_size, chunk_size,
    layout, shapes,
):  # fmt: skip
    args, shapes.args = shapes.args, ()  # the cache must not keep the data alive
    state, data, *_ = args
    for name, examples in data.items():
        check_takes(problem.loss_fn, state.params, name, examples, layout)
    step = make_step(
        problem, method, tx, dict(needs), batch_size, strategy, dict(certified),
        certify_batch_size, layout,
    )  # fmt: skip
    return make_chunk(step, chunk_size, args, fed=any(isinstance(x, Drawn) for x in data.values()))


def _not_finite(method: Method, step: int) -> str:
    reason = f"a loss or a parameter was not finite after {step} steps"
    warnings.warn(
        f"{method.name}: {reason}; the run ends with the last finite parameters. A smaller "
        "learning rate, fewer steps, or feasible updates keep it finite.",
        RuntimeWarning,
        stacklevel=3,
    )
    return reason


def _ended(reason: str, taken: int, steps: int) -> str:
    warnings.warn(
        f"{reason}, so that the run ends after {taken} of {steps} steps. Give it more batches, or "
        "something that begins anew when it is iterated over again.",
        RuntimeWarning,
        stacklevel=3,
    )
    return reason


def _strong(state: LoopState) -> LoopState:
    """The state with no weak types: a checkpoint keeps none, and they would change promotion."""
    return jax.tree.map(
        lambda x: jax.lax.convert_element_type(x, x.dtype) if getattr(x, "weak_type", False) else x,
        state,
    )


def _settings(
    method, steps, batch_size, certify_batch_size, patience, key, strategy, hyperparams, opt_state,
    params, data,
) -> dict[str, Any]:  # fmt: skip
    """What a run depends on as far as it can be seen, fit for JSON; arrays as digests."""
    return {
        "method": method.name,
        "weights": [None if callable(weight) else float(weight) for weight in method.weights],
        "steps": int(steps),
        "batch_size": int(batch_size),
        "certify_batch_size": int(certify_batch_size),
        "patience": None if patience is None else int(patience),
        "strategy": strategy,
        "the digest of the key": fingerprint(key),
        **{name: np.asarray(x).tolist() for name, x in sorted((hyperparams or {}).items())},
        **described(opt_state),
        "the digest of the parameters": fingerprint(params),
        **{f"the digest of the {name} set": fingerprint(data[name]) for name in sorted(data)},
    }
