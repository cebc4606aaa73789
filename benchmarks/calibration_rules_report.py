"""What selection rules let pass, with and without certificates, as a page of tables."""

from collections.abc import Callable, Sequence

from calibration_counts import target
from calibration_levels import Figure, Levels, of_certificates, of_masks
from calibration_populations import POPULATIONS
from calibration_proposals import CHOOSING, COORDINATES
from calibration_report import and_, measured_on
from calibration_results import Results, rows_of
from calibration_tables import table
from calibration_tests import ALPHAS, POWER_SHIFT
from calibration_violations import rule_tables, run_table

_ALPHA = 0.05
_LEAST_POWER = 0.6
# What the level of a rule does not change, and which of them see evidence at all.
_NO_LEVEL, _BLIND = ("no mask", "random mask", "sign mask"), ("no mask", "random mask")
_FAMILIES = ("coordinatewise", "coordinatewise, Bonferroni", "coordinatewise, Benjamini-Hochberg")

_ABOUT = """Written by `benchmarks/calibration.py`; what follows from it is in
[What the guarantee says](guarantee.md), and the tests of a mean by themselves are in
[Calibration in figures](calibration_benchmark.md). {machine}.{smoke}

Rules choose what may move, from the gradients of examples of the retain set, whose loss must not
rise. *no mask* lets all pass, *random mask* a fifth of the coordinates, *sign mask* those along
which the mean gradient of these examples falls: none of the three has a level. All others are
[rules with a test](how_it_works.md); *curvature* and *budget* charge `curvature=1000` for the
finite step."""

_PICTURE = """![What passes at the boundary, over the nominal level: every rule by itself, and the
test of a certificate on what each rule selected](_static/calibration_rules.svg)"""

_MASKS = """Each rule chooses at the level of the row, from as many examples as the column says,
without a certificate. The first tables put **every coordinate at the boundary**, where the mean of
its gradient is 0 (recentred), and count how many percent of the coordinates *pass*, which should
not exceed the level; and how many pass where all lie {shift} standard errors to the good side
(*aligned*). Of *soft* they are mean factors, of *projection* the share of draws in which it leaves
the whole update as it is. Coordinates with no gradient at all, and those that the method does not
move, are left out. Brackets hold the worst single population.

{draws} draws of {coordinates} independent coordinates for each of {populations} synthetic
populations (lognormal, rare harm, ...), and updates so small that the price hardly counts. Real
ones: retained examples at steps {points} of runs of {bases}, scenarios {scenarios}; at each of
these points, which are the single populations, {mask_draws} draws of a batch that both proposes the
update, where the method takes retained examples, and chooses. That is {pooled} for each method.
Intervals are those of the mean over draws, for coordinates of one draw are not independent.

The rules' own test takes means to be Student's: on skewed gradients it does not hold its level. A
method that descends the retain loss on the batch that also chooses proposes what this batch likes,
and more passes; with NegGrad+ it shows, with random labels hardly. *projection* bounds a sum, with
coordinates taken for uncorrelated, for moments hold no correlations: real gradients make the sum
far noisier than that. The bound of *budget* is for a mask that is fixed in advance, but it chooses
one on the same examples, and where all is at the boundary nearly everything fits: what passes is no
error rate of its level. And thousands of coordinates that pass by luck may together do harm. This
is what a certificate is for, which tests the whole, on fresh examples."""

_HARM = """Gradients as they are, not recentred: of how many percent of the updates that a rule
applies the slope on the whole retain set points up, with Clopper and Pearson's interval at 5%. The
first row is what the methods propose. Under Bonferroni's and Benjamini and Hochberg's levels hardly
a coordinate passes but those that the batch shows as neutral, because it has none of the few
examples that they matter to."""

_ANY = """In how many percent of draws any of the synthetic coordinates passes where all are at the
boundary, largest of the populations in brackets: the family-wise error that Bonferroni's levels
bound, and, where all are false, Benjamini and Hochberg's false discovery rate, if the test holds
its own. Of the thousands of coordinates of a real update some always pass."""

_CERTIFIED = """Each rule chooses at 5% from {choosing} examples; `gaffke_test`, the default test of
`certify_updates`, then judges the whole update at the level of the row, on as many fresh examples
as the column says. (With its default of halvings `certify_updates` asks it at half the level, and
the other half is for halved steps.) The changes are recentred: **size** is how many percent of the
updates are certified at the boundary, **power** how many {shift} standard errors off it. Worst
single populations in brackets; bold is what misses the target: a size of at most twice the level
from 64 examples on and 1.25 times from 256 on, a power of at least {power}.

{draws} batches for each rule, batch size and population. Synthetic updates have {coordinates}
independent coordinates, chosen where each is two standard errors on the good side. At each point of
the real runs {updates} updates are selected, each from a fresh proposal, on the batch that proposed
it, and the directional derivatives of all retained examples taken; of {loss_updates} of them the
exact changes of the loss. What is zero, or changes no loss that float32 can show, is left out.
Intervals are Clopper and Pearson's for synthetic updates; for real ones they are those of a mean
over updates, and of these points of these runs."""

_NEUTRAL = """Bonferroni's and Benjamini and Hochberg's rows are often the same: of thousands of
coordinates both keep only what the batch shows as neutral, and a few examples carry what that does.
No batch that has none of them can see it, and of its losses most change by less than float32 shows.
A certificate does not make such an update safe, only its steps are tiny."""

_PASSED = """Changes as they are, not recentred: how many percent of the *harmful* updates, those
whose mean over the whole retain set is above 0, are certified, which the level is meant to bound,
with the worst point in brackets; and after the stroke, how many percent of the harmless ones. Bold
is above the level."""


def markdown(results: Results) -> str:
    """The page."""
    about, settings = measured_on(results), results["settings"]
    smoke = " **Smoke sizes: the figures mean nothing.**" if settings["smoke"] else ""
    sections = ["# Rules and certificates in figures", _ABOUT.format(machine=about, smoke=smoke)]
    masks, certificates = of_masks(results), of_certificates(results)
    if masks or certificates:
        sections.append(_PICTURE)
    if masks:
        sections += ["## Rules by themselves", _filled(_MASKS, settings), *_by_themselves(masks)]
    if certificates:
        sections += ["## With a certificate", _filled(_CERTIFIED, settings)]
        sections += _with_certificate(certificates)
    if rows_of(results, "rules"):
        sections += rule_tables(rows_of(results, "rules"))
    if rows_of(results, "runs"):
        sections += run_table(rows_of(results, "runs"))
    return "\n\n".join(sections) + "\n"


def _filled(text: str, settings: dict) -> str:
    points = len(settings["points"]) * len(settings["scenarios"])
    return text.format(
        draws=f"{settings['real_draws']:,}", coordinates=COORDINATES, choosing=CHOOSING,
        shift=f"{POWER_SHIFT:g}", populations=len(POPULATIONS),
        points=and_(settings["points"]), bases=and_(settings["bases"]),
        scenarios=and_(settings["scenarios"]), mask_draws=settings["mask_draws"],
        pooled=f"{points * settings['mask_draws']:,}", updates=settings["updates"],
        loss_updates=settings["loss_updates"], power=f"{_LEAST_POWER:.0%}",
    )  # fmt: skip


def _by_themselves(masks: list[Levels]) -> list[str]:
    sections = []
    for levels in masks:
        seeing = [rule for rule in levels.rules if rule not in _BLIND]
        sections += [f"### {levels.title}", "What passes at the boundary, chosen at 5%:"]
        sections += [_intervals(levels, "passes", seeing)]
        sections += ["At every level, and aligned:", _table(levels, _passes, seeing, _NO_LEVEL)]
        if levels.real:
            sections += ["Of each method, chosen at 5%:", _by_base(levels, "passes", seeing)]
            harm = _table(levels, _harm, levels.rules, _NO_LEVEL)
            sections += ["### Harm of what rules let pass", _HARM, harm]
        elif families := [rule for rule in _FAMILIES if rule in levels.rules]:
            sections += ["### Any coordinate", _ANY, _table(levels, _any, families)]
    return sections


def _with_certificate(certificates: list[Levels]) -> list[str]:
    sections = []
    for levels in certificates:
        sections += [f"### {levels.title}", "Size at 5%:"]
        sections += [_intervals(levels, "size", levels.rules)]
        sections += ["Size and power at every level:", _table(levels, _tested, levels.rules)]
        if levels.real:
            sections += ["Of each method, at 5%:", _by_base(levels, "size", levels.rules)]
            sections += [_PASSED, _table(levels, _passed, levels.rules)]
    return [*sections, _NEUTRAL] if certificates[1:] else sections


def _intervals(levels: Levels, what: str, rules: list[str]) -> str:
    """At 5%, with intervals."""
    body = []
    for rule in rules:
        figures = [levels.figure(what, rule, size, _ALPHA) for size in levels.batch_sizes]
        body.append([rule, *map(_interval, figures)])
    return table(_head(["rule"], levels), body)


def _by_base(levels: Levels, what: str, rules: list[str]) -> str:
    """At 5%, a line for each rule and base method, with intervals."""
    body = []
    for rule in rules:
        for base in levels.bases:
            mine = levels.of_base(base)
            figures = [mine.figure(what, rule, size, _ALPHA) for size in levels.batch_sizes]
            body.append([rule, base, *map(_interval, figures)])
    return table(_head(["rule", "method"], levels), body, left=2)


def _interval(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{100 * figure.value:.1f} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def _passes(levels: Levels, rule: str, size: int, alpha: float) -> str:
    passes, aligned = (levels.figure(w, rule, size, alpha) for w in ("passes", "aligned"))
    if passes is None or aligned is None:
        return "-"
    return (
        f"{100 * passes.value:.1f} ({100 * passes.largest:.1f}) / "
        f"{100 * aligned.value:.0f} ({100 * aligned.least:.0f})"
    )


def _tested(levels: Levels, rule: str, size: int, alpha: float) -> str:
    found, power = (levels.figure(w, rule, size, alpha) for w in ("size", "power"))
    if found is None or power is None:
        return "-"
    aim = target(alpha, size)
    sizes = (_bold(f"{100 * x:.1f}", aim and x > aim) for x in (found.value, found.largest))
    powers = (_bold(f"{100 * x:.0f}", aim and x < _LEAST_POWER) for x in (power.value, power.least))
    return "{} ({}) / {} ({})".format(*sizes, *powers)


def _bold(text: str, yes: bool | None) -> str:
    return f"**{text}**" if yes else text


def _any(levels: Levels, rule: str, size: int, alpha: float) -> str:
    figure = levels.figure("any", rule, size, alpha)
    return "-" if figure is None else f"{100 * figure.value:.1f} ({100 * figure.largest:.1f})"


def _harm(levels: Levels, rule: str, size: int, alpha: float) -> str:
    share = levels.share("slope_up", "applied", rule, size, alpha)
    return share.percent(interval=alpha == _ALPHA)


def _passed(levels: Levels, rule: str, size: int, alpha: float) -> str:
    harmful = levels.share("harmful_passed", "harmful", rule, size, alpha)
    largest = levels.largest("harmful_passed", "harmful", rule, size, alpha)
    harmless = levels.share("harmless_passed", "harmless", rule, size, alpha)
    worst, all_together = (
        _bold(share.percent(), share.total and share.value > alpha) for share in (largest, harmful)
    )
    return f"{all_together} ({worst}) / {harmless.percent()}"


def _table(
    levels: Levels,
    cell: Callable[[Levels, str, int, float], str],
    rules: Sequence[str],
    without_level: Sequence[str] = (),
) -> str:
    """A line for each rule and level; one alone for a rule that has none."""
    body = []
    for rule in rules:
        for alpha in (_ALPHA,) if rule in without_level else ALPHAS:
            level = "none" if rule in without_level else f"{alpha:.0%}"
            cells = (cell(levels, rule, size, alpha) for size in levels.batch_sizes)
            body.append([rule, level, *cells])
    return table(_head(["rule", "level"], levels), body, left=2)


def _head(first: list[str], levels: Levels) -> list[str]:
    return [*first, *(f"B = {size}" for size in levels.batch_sizes)]
