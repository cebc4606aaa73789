"""What `unlearn` refuses before any work starts, and what it says to do instead."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from feasible_jax.methods.method import Method
from feasible_jax.moments.estimator import STRATEGIES, check_loss
from feasible_jax.moments.per_example import check_batch
from feasible_jax.unlearning.batches import Drawn, Layout
from feasible_jax.unlearning.placement import on_a_shard
from feasible_jax.unlearning.streams import Stream


def check_takes(loss_fn, params, name: str, examples, layout: Layout | None) -> None:
    """Raise unless a loss takes the examples of a set, one at a time."""
    if isinstance(examples, Drawn):
        examples = next((batch for batch in examples if batch is not None), None)
        if examples is None:  # nobody asks for them
            return
    kinds = {
        jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape[1:])}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(examples)
    }
    message = f"loss_fn does not take the examples of the {name} set, each {kinds}"
    try:
        on_a_shard(layout, partial(check_loss, loss_fn))(params, examples)
    except (TypeError, ValueError) as error:
        # JAX has errors of its own among these, which are not made of a text alone.
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{message}: {error}") from error
    except Exception as error:
        error.add_note(f"{message}.")
        raise


def check_certifying(certify_batch_size: int, patience: int | None) -> None:
    """Raise for sizes that no certificate, and no patience, can have."""
    if not isinstance(certify_batch_size, (int, np.integer)) or certify_batch_size < 2:
        raise ValueError(
            f"certify_batch_size={certify_batch_size!r}: give a whole number of at least 2."
        )
    if patience is not None and (not isinstance(patience, (int, np.integer)) or patience < 1):
        raise ValueError(f"patience={patience!r}: give a whole number of at least 1, or None.")


def check_replacement(names: Sequence[str], drawn: Iterable[str]) -> None:
    """Raise for a certificate that takes what is drawn with replacement for drawn without."""
    for name in names:
        if name in drawn:
            raise ValueError(
                f"certify_updates has a population_size for {name!r}, for examples drawn without "
                "replacement, and batches of a set are drawn with replacement: leave it out, or "
                "give a stream that draws without."
            )


def check_warmup(warmup_steps: int, steps: int) -> None:
    """Raise for a run that would be over before its mask lets anything pass."""
    if warmup_steps >= steps:
        raise ValueError(
            f"steps={steps}, and the first {warmup_steps} updates are zero: give more steps than "
            f"warmup_steps={warmup_steps}."
        )


def check_checkpoint(checkpoint: Any, every: float, resume: bool) -> None:
    """Raise for a run that cannot be kept, or gone on with, as asked."""
    if resume and checkpoint is None:
        raise ValueError("resume=True needs a checkpoint to go on with: pass checkpoint=folder.")
    if not isinstance(every, (int, float)) or not every >= 0:
        raise ValueError(f"checkpoint_every={every!r}: give a number of seconds of at least 0.")


def check_rewinds(method: Method, rewind_to: Any) -> None:
    """Raise for a method that goes back and is not told where to."""
    if method.rewinds and rewind_to is None:
        raise ValueError(
            f"method {method.name!r} goes back to an earlier look: pass rewind_to=(inputs, "
            "labels), held-out examples distributed like the forget set, or an error of that set."
        )


def check_prepares(method: Method, streams: Mapping[str, Stream]) -> None:
    """Raise for a method that looks at whole sets where there are streams."""
    if method.prepare is not None and streams:
        raise ValueError(
            f"method {method.name!r} prepares from whole sets, and {', '.join(streams)} comes in "
            "batches: give arrays."
        )


def check_sizes(data, begun, needs, steps, batch_size, chunk_size, strategy) -> None:
    """Raise for sizes below 1, an unknown strategy, or constraints that cannot be tested."""
    for name, value in (("steps", steps), ("batch_size", batch_size), ("chunk_size", chunk_size)):
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}={value!r}: give a whole number of at least 1.")
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy={strategy!r}: choose one of {', '.join(STRATEGIES)}.")
    for name, kind in needs.items():
        if name not in data | begun:
            raise ValueError(
                f"constraint {name!r} has no data: pass constraint_data={{{name!r}: examples}}."
            )
        if kind not in ("moments", "per_example"):
            continue
        if name in data and batch_size < 2:
            raise ValueError(f"batch_size={batch_size}: a variance needs at least 2 examples.")
        if name in begun and check_batch(begun[name], None) * jax.process_count() < 2:
            raise ValueError(f"{name} stream: a variance needs batches of at least 2 examples.")
