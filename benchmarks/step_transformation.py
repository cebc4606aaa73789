"""The transformation alone, beside an elementwise pass that moves the same bytes."""

from typing import Any

import jax
from step_chips import device
from step_evidence import Proposed, propose
from step_timing import Ready, compiled, timed

import feasible_jax as fj

TARGET = 1.5
DEFAULT = "coordinatewise()"
ADAPTIVE = 'coordinatewise(curvature="adaptive", soft=True, evidence_decay=0.9)'
# By label: the default, and the rule that holds and looks at the most.
RULES = {
    DEFAULT: fj.coordinatewise(),
    ADAPTIVE: fj.coordinatewise(curvature="adaptive", soft=True, evidence_decay=0.9),
}
# Arrays of the parameters' size: arguments, results of both calls twice, scratch memory.
_ARRAYS_HELD = {DEFAULT: 15, ADAPTIVE: 52}


def cells(parameters: int, seconds: float, max_gib: float) -> list[dict[str, Any]]:
    """A row for each rule and for the pass that moves its bytes, at one size."""
    rows = []
    for name in RULES:
        gib = _ARRAYS_HELD[name] * 4 * parameters / 2**30
        if gib > max_gib:
            reason = f"{gib:.1f} GiB, above the limit of {max_gib:g}"
            rows.append({"rule": name, "parameters": parameters, "left_out": reason})
        else:
            rows += _pair(name, propose(parameters), parameters, seconds)
    return rows


def _pair(name: str, proposed: Proposed, parameters: int, seconds: float) -> list[dict[str, Any]]:
    tx = fj.feasible_updates(decrease=("retain",), increase=("forget",), rule=RULES[name])

    def transform(updates, state, params, evidence):
        return tx.update(updates, state, params, **evidence)

    args = proposed.updates, tx.init(proposed.params), proposed.params, proposed.evidence
    ready = {"transformation": compiled(transform, *args)}
    ready["pass"] = _same_bytes(transform, args)
    found = timed(ready, seconds)
    peak = device()["peak_gb_per_second"]
    rows = []
    for what, each in found.items():
        moved = ready[what].moved_bytes
        speed = None if moved is None else moved / each["seconds"] / 1e9
        about = {"rule": name, "what": what, "parameters": parameters}
        about |= {"moved_bytes": moved, "gb_per_second": speed}
        about["share_of_peak"] = speed / peak if speed and peak else None
        about["ratio"] = each["seconds"] / found["pass"]["seconds"]
        rows.append(about | {"target": TARGET if what == "transformation" else None} | each)
    return rows


def _same_bytes(transform: Any, args: tuple) -> Ready:
    """An elementwise pass over what the transformation uses, into as many arrays as it returns."""
    used = _used(transform, args)
    results = jax.tree.leaves(jax.eval_shape(transform, *args))
    reads = [leaf for leaf in used if leaf.ndim]
    by_shape: dict[tuple[int, ...], int] = {}
    for leaf in results:
        if leaf.ndim:
            by_shape[leaf.shape] = by_shape.get(leaf.shape, 0) + 1

    def copy(*arrays):
        written = []
        for shape, count in by_shape.items():
            here = [array for array in arrays if array.shape == shape]
            # Every array is read once and for one result: no order of loops can save a byte.
            written += [sum(here[i::count][1:], here[i]) * 0.5 for i in range(count)]
        return written

    return compiled(copy, *reads)


def _used(transform: Any, args: tuple) -> list[jax.Array]:
    """The arrays that a result depends on."""
    jaxpr = jax.make_jaxpr(transform)(*args).jaxpr
    seen = {id(v) for equation in jaxpr.eqns for v in equation.invars}
    pairs = zip(jax.tree.leaves(args), jaxpr.invars, strict=True)
    return [leaf for leaf, v in pairs if id(v) in seen]
