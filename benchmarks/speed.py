"""What makes a mask with a price on curvature forget faster at the same utility, on Fashion-MNIST.

    python benchmarks/speed.py --folder speed
    python benchmarks/speed.py --folder speed --report-only
    python benchmarks/speed.py --folder /tmp/smoke --smoke

Every variant takes as many steps on the same task: larger steps, which the price brakes, a soft
mask, momentum under the mask, an adaptive price, retain descent in the same step, a certificate,
a warm-up, and some of these together. Nothing is chosen by what comes out. Finished runs and
trained models are kept in the folder, and a run that was stopped goes on where it was.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import optax
import speed_report
import tyro
from rich.progress import Progress

import feasible_jax as fj
from feasible_jax.evaluation import predict
from feasible_jax.evaluation.accuracies import accuracy
from feasible_jax.evaluation.utility_fall import utility_fall
from feasible_jax.experiments import make_method
from feasible_jax.experiments.build_task import build_task
from feasible_jax.experiments.config import TaskConfig, preset
from feasible_jax.experiments.ledger import Ledger, plain
from feasible_jax.unlearning.task import Task

_HERE = Path(__file__).parent
# Points of validation accuracy that count as no loss.
_NO_LOSS = 0.5


class Variant(NamedTuple):
    """One way to run a priced mask.

    Attributes:
      label: how the table calls it.
      rate: learning rate of SGD.
      rule: made anew for every run.
      method: base method.
      momentum: of SGD, under the mask.
      certified: whether a certificate has the last word.
      warmup_steps: in which evidence is gathered and nothing is moved.
      ramp_steps: after them, over which the learning rate rises from 0. Where all retain losses
        are nearly 0 nothing is charged, and large steps would do harm that evidence sees too late.
    """

    label: str
    rate: float
    rule: Callable[[], Any]
    method: str = "gradient_ascent"
    momentum: float = 0.0
    certified: bool = False
    warmup_steps: int = 0
    ramp_steps: int = 0


def _priced(curvature: float | str = 1000.0, soft: bool = False) -> Callable[[], Any]:
    return lambda: fj.coordinatewise(curvature=curvature, soft=soft, evidence_decay=0.9)


VARIANTS = {
    "base": Variant("hard mask, rate 0.05", 0.05, _priced()),
    "larger": Variant("larger steps: rate 1", 1.0, _priced()),
    "larger_still": Variant("larger steps: rate 10", 10.0, _priced()),
    "cheaper": Variant(
        "larger steps at a lower price: rate 30, price 200, after a warm-up of 20 steps and "
        "rising over 50", 30.0, _priced(200.0), warmup_steps=20, ramp_steps=50,
    ),
    "soft": Variant("soft mask, rate 1", 1.0, _priced(soft=True)),
    "soft_larger": Variant("soft mask, rate 10", 10.0, _priced(soft=True)),
    "momentum": Variant("momentum 0.9, rate 0.05", 0.05, _priced(), momentum=0.9),
    "soft_momentum": Variant(
        "soft mask, momentum 0.9, rate 1", 1.0, _priced(soft=True), momentum=0.9
    ),
    "adaptive": Variant("adaptive price, rate 0.05", 0.05, _priced("adaptive")),
    "warm_adaptive": Variant(
        "adaptive price, rate 3, after a warm-up of 20 steps", 3.0, _priced("adaptive"),
        warmup_steps=20,
    ),
    "soft_adaptive": Variant("soft mask, adaptive price, rate 1", 1.0, _priced("adaptive", True)),
    "descent": Variant(
        "retain descent in the step (NegGrad+), soft mask, rate 10", 10.0, _priced(soft=True),
        "neg_grad_plus",
    ),
    "certified": Variant(
        "soft mask, rate 1, certified", 1.0, _priced(soft=True), certified=True
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """How long every run takes."""

    steps: int = 400
    """Steps of a run."""
    look_every: int = 25
    """Steps between two looks."""
    batch_size: int = 128
    """Examples drawn from each set at a step."""
    confidence: float = 0.5
    """Of each coordinate's test."""
    tolerance: float = 1e-3
    """Of the certificate, in nats a step."""


@dataclass(frozen=True)
class Options:
    """What to run and where to keep it."""

    folder: Path = Path("speed")
    """Finished runs and trained models."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """Which, in the order of the table."""
    seeds: int = 3
    """Seeds; each draws its own division, initial parameters and batches."""
    limits: Limits = Limits()
    smoke: bool = False
    """A few steps on a few digits, to see that everything runs."""
    report_only: bool = False
    """Run nothing; write the table of what is finished."""
    results: Path = _HERE / "results" / "speed.json"
    """The rows of all finished runs."""
    table: Path = _HERE.parent / "docs" / "speed_benchmark.md"
    """A page with the table."""


def main(options: Options) -> None:
    """Run what is missing, then report all there is."""
    config, limits = preset("fashion_mnist").task, options.limits
    if options.smoke:
        config = TaskConfig(train_size=150, validation_size=50, test_size=50, epochs=3)
        limits = Limits(steps=4, look_every=2, batch_size=8)
    variants = {name: [v for v in each if not callable(v)] for name, each in VARIANTS.items()}
    settings = {"task": plain(config), "limits": plain(limits), "variants": variants}
    ledger = Ledger(options.folder, settings)
    runs = [(seed, name) for seed in range(options.seeds) for name in options.variants]
    if not options.report_only:
        with Progress() as progress:
            bar = progress.add_task("speed", total=len(runs))
            for seed, name in runs:
                progress.update(bar, description=f"seed {seed}: {VARIANTS[name].label}")
                _run(ledger, config, limits, seed, name)
                progress.advance(bar)
    kept = ("original", "retrained", *options.variants)
    names = [f"{name}-{seed}" for name in kept for seed in range(options.seeds)]
    rows = [ledger.read(name) for name in names if ledger.has(name)]
    speed_report.write(rows, plain(limits), options.results, options.table)


def _run(ledger: Ledger, config: TaskConfig, limits: Limits, seed: int, name: str) -> None:
    if ledger.has(f"{name}-{seed}"):
        return
    task = _task(ledger, config, seed)
    for role, params in (("original", task.params), ("retrained", task.retrained)):
        about = {"variant": role, "label": role, "seed": seed}
        ledger.cell(f"{role}-{seed}", lambda p=params, a=about: a | _reference(task, p))
    ledger.cell(f"{name}-{seed}", lambda: _row(task, limits, seed, name))


def _reference(task: Task, params: Any) -> dict[str, Any]:
    test = predict(task.predict_fn, params, task.test)
    return _accuracies(task, params, with_test=True) | utility_fall(task, params, test)


_TASKS: dict[tuple[Path, int], Task] = {}


def _task(ledger: Ledger, config: TaskConfig, seed: int) -> Task:
    key = ledger.folder, seed
    if key not in _TASKS:

        def trained(role, run, like):
            return ledger.model(f"{seed}-{role}", run, like)

        _TASKS.clear()  # one at a time is enough
        _TASKS[key] = build_task(config, "random", seed, trained=trained).task
    return _TASKS[key]


def _row(task: Task, limits: Limits, seed: int, name: str) -> dict[str, Any]:
    variant = VARIANTS[name]
    before = _accuracies(task, task.params)
    looks = [{"step": 0} | before]

    def look(step: int, params: Any) -> None:
        looks.append({"step": step} | _accuracies(task, params))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # noted in the row instead
        result = fj.unlearn(
            task.loss_fn, task.params, forget=task.forget, retain=task.retain,
            method=make_method(variant.method, task.num_classes),
            optimizer=optax.sgd(_rate(variant), momentum=variant.momentum or None),
            feasibility=_feasibility(name, limits), steps=limits.steps,
            batch_size=limits.batch_size, key=seed, chunk_size=limits.look_every, on_chunk=look,
            predict_fn=task.predict_fn, progress=False,
        )  # fmt: skip
    test = predict(task.predict_fn, result.params, task.test)
    useful = [seen for seen in looks if seen["validation"] >= before["validation"] - _NO_LOSS]
    certificates = result.history.certificates
    return {
        "variant": name,
        "label": variant.label,
        "seed": seed,
        **_accuracies(task, result.params, with_test=True),
        **utility_fall(task, result.params, test),
        "useful_forget": min(seen["forget"] for seen in useful),
        "kept": float(result.history.kept.mean()),
        "accepted": None if certificates is None else float(certificates.accepted.mean()),
        "stop": None if result.stop is None else result.stop.reason,
        "looks": looks,
    }


def _rate(variant: Variant) -> float | optax.Schedule:
    if not variant.ramp_steps:
        return variant.rate
    return optax.linear_schedule(0.0, variant.rate, variant.ramp_steps, variant.warmup_steps)


@cache
def _feasibility(name: str, limits: Limits) -> optax.GradientTransformation:
    variant = VARIANTS[name]
    masked = fj.feasible_updates(
        decrease=("retain",), confidence=limits.confidence, rule=variant.rule(),
        warmup_steps=min(variant.warmup_steps, limits.steps - 1),
    )  # fmt: skip
    if not variant.certified:
        return masked
    certified = fj.certify_updates(decrease=("retain",), tolerance=limits.tolerance)
    return optax.chain(masked, certified)


def _accuracies(task: Task, params: Any, with_test: bool = False) -> dict[str, float]:
    names = ("forget", "retain", "validation", *(("test",) if with_test else ()))
    return {name: accuracy(predict(task.predict_fn, params, getattr(task, name))) for name in names}


if __name__ == "__main__":
    main(tyro.cli(Options))
