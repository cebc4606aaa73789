"""The results of the calibration benchmark as a page of tables."""

from collections.abc import Sequence
from typing import Any

from calibration_counts import Rejections, Share, pooled, target
from calibration_results import Results
from calibration_tables import table
from calibration_tests import ALPHAS, POWER_SHIFT

from feasible_jax.alignment import DEFAULT_TEST

_ALPHA = 0.05
_SIZES = (64, 256)
_LEAST_POWER = 0.6
_ABOUT = """Written by `benchmarks/calibration.py`; what follows from it is in
[What the guarantee says](guarantee.md), and what selection rules, certificates and whole runs let
pass in [Rules and certificates in figures](calibration_rules_benchmark.md). {machine}.

**Size** is the share of batches on which a test certifies an update that is exactly at the
boundary: the mean change of the population is 0. It should not exceed the level. **Power** is the
same share where the mean is {shift} standard errors on the good side. Intervals are those of
Clopper and Pearson, 95%. Harm is above 0: long tails point to harm, those of mirror images to
improvement.

**Synthetic populations**: {draws} batches each, the same for all tests and levels. *gaffke,
bounded* and *betting* are told the largest possible change, where there is one. The bootstrap has
199 resamples and sees {bootstrap_draws} batches at most.

**Real populations**: {real_draws} batches each, drawn with replacement from the changes that one
update makes to the loss of every retained example (*loss*), or from its directional derivatives
(*direction*), recentred. The updates are what gradient ascent, NegGrad+ and random labels propose
for a CNN on 6,000 images of Fashion-MNIST at steps {points} of a run, whole (*unmasked*) or
through `coordinatewise()` (*masked*). Batches of one size have the same examples in all populations
of a scenario, so that the shares of pooled ones vary more than their intervals say. Points and
scenarios ({scenarios}) are pooled. *gaffke, bounded* and *betting* are told the largest change of
the whole population, which a user does not know."""


_MISSED = f"""How many of the real populations the default exceeds the target on, and on how many of
these any test must: a batch misses the worst examples of such a population so often, and looks
{POWER_SHIFT:g} standard errors better without them, that whatever certifies {_LEAST_POWER:.0%} of
such batches is above the target as well (`benchmarks/calibration_missed.py` has the formula)."""


def markdown(results: Results) -> str:
    """The page: what was measured, and a section for each kind of part that was."""
    found = Rejections(results)
    sections = ["# Calibration in figures", _about(results)]
    if found.synthetic or found.real:
        sections += _tests(found)
    if found.real:
        sections += _each_point(found)
    return "\n\n".join(sections) + "\n"


def _about(results: Results) -> str:
    settings = results["settings"]
    text = _ABOUT.format(
        machine=measured_on(results),
        shift=f"{POWER_SHIFT:g}",
        draws=f"{settings['draws']:,}",
        real_draws=f"{settings['real_draws']:,}",
        bootstrap_draws=f"{settings['bootstrap_draws']:,}",
        points=and_(settings["points"]),
        scenarios=and_(settings["scenarios"]),
    )
    return text + (" **Smoke sizes: the figures mean nothing.**" if settings["smoke"] else "")


def measured_on(results: Results) -> str:
    """The machine, the versions and the date, and what those who merged parts have to say."""
    about = results["machine"]
    packages = ", ".join(
        f"{name} {about['packages'][name]}"
        for name in ("jax", "optax")
        if name in about["packages"]
    )
    text = f"{about['cpu']}, Python {about['python']}, {packages}; {results['date']}"
    return f"{text}. {results['remarks']}" if results.get("remarks") else text


def _tests(found: Rejections) -> list[str]:
    kinds = [real for real in (False, True) if found.populations(real)]
    sizes = [size for size in _SIZES if any(size in found.batch_sizes(real) for real in kinds)]
    sections = ["## Default and Student, size at 5%", _with_intervals(found, kinds, sizes)]
    for size in sizes:
        sections += [f"## Size at 5% in percent, B = {size}", _matrix(found, kinds, "size", size)]
        sections += [f"## Power at 5% in percent, B = {size}", _matrix(found, kinds, "power", size)]
    sections += [
        "## Largest size over the populations, in percent",
        "By level and batch size; bold where it is above the target, which is twice the level "
        "from 64 examples on and 1.25 times the level from 256 on. Left out: populations whose "
        "harm a batch of that size misses with a probability above the target (rare harm), at "
        "which every test fails that is not told a bound. Real populations one by one, not pooled.",
    ]
    for real in kinds:
        sections += ["**Real**" if real else "**Synthetic**", _extreme(found, real, "size")]
    if any(target(_ALPHA, size) for size in found.batch_sizes(True)):
        sections += [_MISSED, _above_target(found)]
    sections += [
        "## Smallest power over the populations, in percent",
        "The same populations, four standard errors from the boundary; bold where it is below the "
        f"{_LEAST_POWER:.0%} aimed at from 64 examples on. Where the level is not held, power is "
        "no merit.",
    ]
    for real in kinds:
        sections += ["**Real**" if real else "**Synthetic**", _extreme(found, real, "power")]
    return sections


def _above_target(found: Rejections) -> str:
    """Of how many real populations the default's size is too large, and of how many any test's."""
    body = []
    for size in found.batch_sizes(real=True):
        rows = [row for row in found.real if (row["B"], row["test"]) == (size, DEFAULT_TEST)]
        for alpha in ALPHAS:
            if (aim := target(alpha, size)) is None:
                continue
            above = [row for row in rows if pooled([row], "size", alpha).value > aim]
            forced = [row for row in above if _LEAST_POWER * row["missed"] > aim]
            cells = (size, f"{alpha:.0%}", f"{len(above)} of {len(rows)}", len(forced))
            body.append([str(cell) for cell in cells])
    return table(["B", "level", f"{DEFAULT_TEST} above the target", "any test"], body)


def _with_intervals(found: Rejections, kinds: list[bool], sizes: list[int]) -> str:
    tests = (DEFAULT_TEST, "student")
    head = ["population", *(f"{test}, B = {size}" for size in sizes for test in tests)]
    body = [
        [name]
        + [
            found.share("size", name, size, test, _ALPHA).percent(interval=True)
            for size in sizes
            for test in tests
        ]
        for real in kinds
        for name in found.populations(real)
    ]
    return table(head, body)


def _matrix(found: Rejections, kinds: list[bool], what: str, size: int) -> str:
    tests = list(dict.fromkeys(test for real in kinds for test in found.tests(real)))
    body = []
    for real in kinds:
        for name in found.populations(real):
            shares = [found.share(what, name, size, test, _ALPHA) for test in tests]
            body.append([name, *(_marked(s, size, _ALPHA, what) for s in shares)])
    return table(["population", *tests], body)


def _marked(share: Share, size: int, alpha: float, what: str = "size") -> str:
    aim = target(alpha, size)
    if aim is None or not share.total:
        return share.percent()
    missed = share.value > aim if what == "size" else share.value < _LEAST_POWER
    return f"**{share.percent()}**" if missed else share.percent()


def _extreme(found: Rejections, real: bool, what: str) -> str:
    """The largest size, or the smallest power, of every test at every level and batch size."""
    worst = max if what == "size" else min
    tests = [test for test in found.tests(real) if not _needs_a_bound(found, real, test)]
    body = []
    for size in found.batch_sizes(real):
        for alpha in ALPHAS:
            names = [name for name in found.populations(real) if not unseen(name, size, alpha)]
            cells = []
            for test in tests:
                shares = [s for name in names for s in found.each(what, name, size, test, alpha)]
                cells.append(
                    _marked(worst(shares, key=lambda share: share.value), size, alpha, what)
                )
            body.append([str(size), f"{alpha:.0%}", *cells])
    return table(["B", "level", *tests], body)


def unseen(population: str, size: int, alpha: float) -> bool:
    """Whether all harm of a population is absent from a batch more often than aimed at."""
    shares = {"rare harm, 5%": 0.05, "rare harm, 2%": 0.02}
    return (1 - shares.get(population, 1.0)) ** size > (target(alpha, size) or 2 * alpha)


def _needs_a_bound(found: Rejections, real: bool, test: str) -> bool:
    size = found.batch_sizes(real)[0]
    names = found.populations(real)
    return not all(found.share("size", name, size, test, _ALPHA).total for name in names)


def _each_point(found: Rejections) -> list[str]:
    body, sizes = [], [size for size in _SIZES if size in found.batch_sizes(real=True)]
    for name in found.populations(real=True):
        cells = []
        for size in sizes:
            for test in (DEFAULT_TEST, "student"):
                shares = found.each("size", name, size, test, _ALPHA)
                values = sorted(100 * share.value for share in shares)
                cells.append(f"{values[0]:.1f} to {values[-1]:.1f}")
        rows = [row for row in found.real if _is(row, name)]
        skewness = sorted(row["skewness"] for row in rows)
        body.append([name, f"{skewness[0]:.0f} to {skewness[-1]:.0f}", *cells])
    head = ["population", "skewness"]
    head += [f"{test}, B = {size}" for size in sizes for test in (DEFAULT_TEST, "student")]
    about = "Smallest and largest of the points and scenarios, each a population of its own."
    return ["## Real populations one by one, size at 5% in percent", about, table(head, body)]


def _is(row: dict[str, Any], name: str) -> bool:
    return f"{row['base']}, {row['mask']}, {row['change']}" == name


def and_(values: Sequence[Any]) -> str:
    """As a text lists them."""
    *first, last = (str(value).replace("_", " ") for value in values)
    return f"{', '.join(first)} and {last}" if first else last
