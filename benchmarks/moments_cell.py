"""One cell of the moments benchmark: every contender on one model and one batch size."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from moments_contender import BASELINES, Contender, Prepared
from moments_models import Architecture
from moments_results import physical_bytes
from moments_timing import interleave

# The arguments, the results and the other framework need the rest.
_SHARE_OF_MEMORY = 0.75


def run_cell(
    model: Architecture,
    batch_size: int,
    contenders: Sequence[Contender],
    *,
    seconds: float,
    max_gib: float,
    max_call_seconds: float,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Prepare every contender, time them in turn, and give a row for each.

    Args:
      model: the architecture.
      batch_size: how many examples.
      contenders: in the order of the rows.
      seconds: for the timed rounds.
      max_gib: leave out who would hold more per-example gradients than this.
      max_call_seconds: leave out whose first call takes longer than this.
      say: told what is being done.

    Returns:
      Rows; one that was left out has its reason in ``left_out`` and no times.
    """
    prepared: dict[str, Prepared] = {}
    reasons: dict[str, str] = {}
    for contender in contenders:
        say(f"preparing {contender.label}")
        reason = _unfit(contender, model, batch_size, max_gib)
        if reason is None:
            try:
                prepared[contender.name] = _prepare(contender, model, batch_size, max_call_seconds)
            # One contender's failure is its result; the others' hours are not lost to it.
            except Exception as error:
                reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        if reason is not None:
            reasons[contender.name] = reason
    say("timing")
    times = interleave({name: ready.call for name, ready in prepared.items()}, seconds)
    medians = {name: statistics.median(each) for name, each in times.items()}
    rows = []
    for contender in contenders:
        name, ready = contender.name, prepared.get(contender.name)
        baseline = medians.get(BASELINES[contender.framework])
        rows.append(
            {
                "model": model.name,
                "title": model.title,
                "parameters": model.parameters(),
                "batch_size": batch_size,
                "contender": name,
                "label": contender.label,
                "framework": contender.framework,
                "is_baseline": contender.is_baseline,
                "left_out": reasons.get(name),
                "seconds": medians.get(name),
                "ratio": medians[name] / baseline if ready and baseline else None,
                "temp_bytes": ready.temp_bytes if ready else None,
                "compile_seconds": ready.compile_seconds if ready else None,
                "times": times.get(name, []),
            }
        )
    return rows


def _unfit(
    contender: Contender, model: Architecture, batch_size: int, max_gib: float
) -> str | None:
    if contender.models and model.name not in contender.models:
        return f"supports the layers of {' and '.join(contender.models)} only"
    gib = contender.examples_held(batch_size) * model.parameters() * 4 / 2**30
    if gib > max_gib:
        return f"{gib:.1f} GiB of per-example gradients, above the limit of {max_gib:g}"
    return None


def _prepare(
    contender: Contender, model: Architecture, batch_size: int, max_call_seconds: float
) -> Prepared:
    ready = contender.prepare(model, batch_size)
    if (ready.temp_bytes or 0) > _SHARE_OF_MEMORY * physical_bytes():
        raise MemoryError(f"{ready.temp_bytes / 2**30:.1f} GiB of scratch memory")
    # The first call allocates and fills caches; it is never timed.
    start = time.perf_counter()
    ready.call()
    elapsed = time.perf_counter() - start
    if elapsed > max_call_seconds:
        limit = f"above the limit of {max_call_seconds:g}"
        raise TimeoutError(f"its first call took {elapsed:.0f} s, {limit}")
    return ready
