"""What a data-parallel step does on each device, counted in its compiled program; nothing is timed.

    python benchmarks/step_scaling.py --models cnn --devices 1 2 4 8

The batch grows with the devices. A process has as many host devices as it was started with, so the
benchmark runs this script in one of its own.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import moments_models
import optax
import tyro
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from step_collectives import collective_bytes, sent_bytes

import feasible_jax as fj

ARMS = ("plain", "feasible", "certified")
_AXIS = "batch"
_RETAIN_WEIGHT = 0.95


@dataclass
class Options:
    """What to count."""

    models: tuple[str, ...] = ("cnn",)
    """The architectures."""
    devices: tuple[int, ...] = (1, 2, 4, 8)
    """Host devices."""
    batch_size: int = 64
    """Examples of each set on each device."""
    smoke: bool = False
    """Tiny models."""


def cells(options: Options) -> list[dict[str, Any]]:
    """The rows that a process with enough host devices gives."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count="
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = flags + str(max(options.devices))
    command = [sys.executable, str(Path(__file__)), "--batch-size", str(options.batch_size)]
    command += ["--models", *options.models, "--devices", *map(str, options.devices)]
    command += ["--smoke"] * options.smoke
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout)


def count(name: str, smoke: bool, arm: str, devices: int, per_device: int) -> dict[str, Any]:
    """The operations, bytes and collectives of one step on each device."""
    model = moments_models.build(name, smoke)
    mesh = Mesh(jax.devices()[:devices], (_AXIS,), axis_types=(AxisType.Auto,))
    tx = _transformation(arm)

    def described(tree, spec):
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
        )

    params = described(jax.eval_shape(model.init), P())
    opt_state = described(jax.eval_shape(tx.init, params), P())
    batch = model.batch(devices * per_device)
    batches = described(dict.fromkeys(("retain", "forget", "certify"), batch), P(_AXIS))
    specs = P(), P(), P(_AXIS)
    step = jax.shard_map(
        _step(model.loss_fn, tx, arm), mesh=mesh, in_specs=specs, out_specs=P(), check_vma=True
    )
    program: Any = jax.jit(step).lower(params, opt_state, batches).compile()
    cost = program.cost_analysis()
    crossing = collective_bytes(program.as_text()) if devices > 1 else {}
    return {
        "model": model.name, "title": model.title, "parameters": model.parameters(), "arm": arm,
        "devices": devices, "batch_size": per_device, "flops": cost["flops"],
        "bytes_accessed": cost["bytes accessed"], "collectives": crossing,
        "sent_bytes": sent_bytes(crossing, devices),
    }  # fmt: skip


def _transformation(arm: str) -> optax.GradientTransformationExtraArgs:
    parts = [optax.sgd(0.01)]
    if arm != "plain":
        parts.append(fj.feasible_updates(decrease=("retain",), increase=("forget",)))
    if arm == "certified":
        parts.append(fj.certify_updates(decrease=("retain",), tolerance=1e-3, axis_name=_AXIS))
    return optax.with_extra_args_support(optax.chain(*parts))


def _step(loss_fn, tx, arm):
    """NegGrad+ on every shard's part of the batch; what is summed over the mesh is in here."""

    def mean_loss(params, batch):
        return jax.vmap(loss_fn, in_axes=(None, 0))(params, batch).mean()

    def plain_gradient(params, batch):
        varying = jax.lax.pcast(params, _AXIS, to="varying")
        return jax.grad(mean_loss)(varying, batch)

    def combined(retain, forget):
        weight = _RETAIN_WEIGHT
        return jax.tree.map(lambda r, f: weight * r - (1 - weight) * f, retain, forget)

    def step(params, opt_state, batches):
        evidence: dict[str, Any] = {}
        sets = ("retain", "forget")
        if arm == "plain":
            # One sum of the two gradients' combination, not one of each.
            gradient = combined(*(plain_gradient(params, batches[name]) for name in sets))
            gradient = jax.lax.pmean(gradient, _AXIS)
        else:
            moments_of = fj.grad_moments(loss_fn)
            for name in sets:
                local = moments_of(params, batches[name])
                evidence[name] = fj.reduce_moments(local, _AXIS)
            gradient = combined(evidence["retain"].mean, evidence["forget"].mean)
        if arm == "certified":
            evidence["retain_change"] = fj.loss_change(loss_fn, batches["certify"])
        updates, opt_state = tx.update(gradient, opt_state, params, **evidence)
        return optax.apply_updates(params, updates), opt_state

    return step


def main(options: Options) -> None:
    """Print the rows as JSON."""
    rows = [
        count(model, options.smoke, arm, devices, options.batch_size)
        for model in options.models
        for arm in ARMS
        for devices in options.devices
    ]
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
