"""The results of the step benchmark as a page."""

from collections.abc import Callable, Iterable
from typing import Any

from calibration_results import Results, rows_of
from calibration_tables import table
from moments_report import ratio_text, seconds_text

Row = dict[str, Any]

_ABOUT = """Written by `benchmarks/step.py`. {machine}. Every time is the median of calls made in
turn in one process; compare ratios, not times. A target is what a ratio should not exceed."""

_WHOLE = """One compiled step of NegGrad+ with SGD, {batch_size} examples of each set: batches
drawn, gradients or moments taken, the update masked and tested, parameters updated. *Plain* is
the method alone. *Feasible* chains `feasible_updates` with `coordinatewise()`. *Certified*
chains `coordinatewise(curvature="adaptive", soft=True, evidence_decay=0.9)` and
`certify_updates`, which compares the losses of its own examples before and after the step: two
more forward passes over as many examples as a batch has, or over four times as many, which is
what `fj.unlearn` draws by default for a batch of 64. The last column says how many lengths of
the step the certificate tried; each one more costs those passes again."""

_TRANSFORMATION = """`feasible_updates` with two constraints, `decrease=("retain",)` and
`increase=("forget",)`, on float32 parameters in four matrices, beside an elementwise pass that
reads each array that the transformation uses once and writes as many as it returns. For
`coordinatewise()` these are 5 arrays read (the update, and the mean and variance of two sets;
the parameters are not looked at) and 1 written (the masked update; the state is a few scalars).
For the adaptive rule they are 12 read (the same, the parameters, two averages of mean and
variance, and two parameter trees of its state) and 7 written. Speed counts those bytes once,
whatever the program does meanwhile."""

_ON_A_CPU = """On a CPU XLA makes each array in a loop of its own: the masks are worked out once for
the update that is returned, and again for the fractions and counts in the state, which are eight
sums with two constraints, taken together. Roots of the variances are written and read in between.
The elementwise pass has no sums."""

_RULES = """One update with the same two constraints at {parameters} parameters, all rules in
turn. Ratios are to `coordinatewise()` with the same `evidence_decay`; at 0.9 that one is itself
{averaged} times the one without. `groupwise()` reads the gradient of each of its examples, where
the others read two moments."""

_SCALING = """A data-parallel step under `shard_map`: {batch_size} examples of each set on each
device, parameters replicated. Nothing is timed: operations and bytes are those that XLA counts
in the compiled program of one device, where a loop's body counts once. *Sent* is what a ring
all-reduce sends from each device: `2 (k - 1) / k` times the bytes reduced. A plain step reduces
one gradient. A feasible one reduces the mean and the squared deviations of each of two sets,
four times the parameters, whatever the batch; a certificate adds one number an example. Weak
scaling is perfect where a column does not grow with the devices."""


def markdown(results: Results) -> str:
    """The page: what was measured, and a section for each kind of part that was."""
    sections = ["# What a step costs", _about(results)]
    for kind, section in _SECTIONS.items():
        rows = rows_of(results, kind)
        if rows:
            sections += section(rows)
        if rows and kind == "transformation" and _backend(results) == "cpu":
            sections.append(_ON_A_CPU)
    return "\n\n".join(sections) + "\n"


def _backend(results: Results) -> str:
    return results["settings"]["device"]["backend"]


def _about(results: Results) -> str:
    about, chip = results["machine"], results["settings"]["device"]
    packages = ", ".join(
        f"{name} {about['packages'][name]}"
        for name in ("jax", "jaxlib", "optax")
        if name in about["packages"]
    )
    parts = [f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, {packages}"]
    if chip["backend"] != "cpu":
        peak = chip["peak_gb_per_second"]
        parts.insert(0, chip["kind"] + (f", {peak} GB/s" if peak else ""))
    text = _ABOUT.format(machine="; ".join([*parts, results["date"]]))
    judged = [row for rows in results["parts"].values() for row in rows if row.get("target")]
    met = sum(row["ratio"] <= row["target"] for row in judged)
    text += f" Of {len(judged)} targets {met} are met."
    if results["note"]:
        text += f"\n\n{results['note']}"
    smoke = results["settings"]["smoke"]
    return text + (" **Smoke sizes: the figures mean nothing.**" if smoke else "")


def _whole(rows: list[Row]) -> list[str]:
    head = ["model", "step", "time", "ratio", "target", "scratch memory", "rounds", "lengths tried"]
    body = [
        [row["model"], row["label"], seconds_text(row["seconds"]), ratio_text(row["ratio"])]
        + [_target(row), _mib(row["temp_bytes"]), str(len(row["times"]))]
        + [_or_dash(row["certificate_tests"], str)]
        for row in rows
    ]
    models = {row["model"]: f"{row['title']}, {row['parameters']:,} parameters" for row in rows}
    listed = "\n".join(f"- {name}: {title}" for name, title in models.items())
    about = _WHOLE.format(batch_size=rows[0]["batch_size"])
    return ["## Whole steps", about, table(head, body, left=2), listed]


def _transformation(rows: list[Row]) -> list[str]:
    head = ["rule", "parameters", "time", "pass", "ratio", "target", "GB/s", "pass, GB/s"]
    peak = any(row.get("share_of_peak") for row in rows)
    body = []
    for row in rows:
        if row.get("left_out") or row["what"] != "transformation":
            continue
        beside = next(r for r in rows if _same_size(r, row) and r["what"] == "pass")
        body.append(
            [f"`{row['rule']}`", _millions(row["parameters"]), seconds_text(row["seconds"])]
            + [seconds_text(beside["seconds"]), ratio_text(row["ratio"]), _target(row)]
            + [_or_dash(r["gb_per_second"], "{:.3g}".format) for r in (row, beside)]
            + [_or_dash(row["share_of_peak"], "{:.0%}".format)] * peak
        )
    out = [
        f"- `{row['rule']}`, {_millions(row['parameters'])}: {row['left_out']}"
        for row in rows
        if row.get("left_out")
    ]
    sections = ["## The transformation alone", _TRANSFORMATION]
    sections.append(table([*head, *["of the peak"] * peak], body))
    return sections + (["Left out:\n\n" + "\n".join(out)] if out else [])


def _same_size(one: Row, other: Row) -> bool:
    keys = ("rule", "parameters")
    return not one.get("left_out") and all(one[key] == other[key] for key in keys)


def _rules(rows: list[Row]) -> list[str]:
    first = {row["evidence_decay"]: row["seconds"] for row in reversed(rows)}
    about = _RULES.format(
        parameters=_millions(rows[0]["parameters"]),
        averaged=f"{first[max(first)] / first[min(first)]:.2f}",
    )
    body = [
        [f"`{row['label']}`", f"{row['evidence_decay']:g}", seconds_text(row["seconds"])]
        + [ratio_text(row["ratio"]), _mib(row["temp_bytes"])]
        for row in rows
    ]
    head = ["rule", "evidence_decay", "time", "ratio", "scratch memory"]
    return ["## The rules", about, table(head, body)]


def _scaling(rows: list[Row]) -> list[str]:
    head = ["model", "step", "devices", "GFLOP a device", "MB accessed a device"]
    head += ["MB reduced", "MB sent a device", "sent over parameters"]
    body = [
        [row["model"], row["arm"], str(row["devices"]), f"{row['flops'] / 1e9:.4g}"]
        + [f"{row['bytes_accessed'] / 1e6:.4g}", f"{sum(row['collectives'].values()) / 1e6:.3g}"]
        + [f"{row['sent_bytes'] / 1e6:.3g}", ratio_text(row["sent_bytes"] / row["parameters"] / 4)]
        for row in rows
    ]
    about = _SCALING.format(batch_size=rows[0]["batch_size"])
    return ["## What a mesh adds", about, table(head, body, left=2)]


_SECTIONS: dict[str, Callable[[list[Row]], Iterable[str]]] = {
    "whole": _whole,
    "transformation": _transformation,
    "rules": _rules,
    "scaling": _scaling,
}


def _target(row: Row) -> str:
    target = row["target"]
    if target is None:
        return "-"
    return f"{target:g}, {'met' if row['ratio'] <= target else '**missed**'}"


def _or_dash(value: Any, text: Callable[[Any], str]) -> str:
    return "-" if value is None else text(value)


def _mib(size: int | None) -> str:
    return _or_dash(size, lambda n: f"{n / 2**20:,.0f} MiB")


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:g}M"
