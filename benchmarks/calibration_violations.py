"""What selection rules and whole runs let pass, as tables."""

from collections.abc import Iterable
from typing import Any

from calibration_counts import Share
from calibration_tables import table

Row = dict[str, Any]

CERTIFICATES = {
    "none": "no certificate",
    "loss, the batch that chose": "loss, same batch",
    "loss": "loss, fresh batch",
    "loss, 3 halvings": "loss, fresh batch, 3 halvings",
    "direction": "direction, fresh batch",
}
_MEANING = """Each rule selects at 5% from the same proposals, on batches of 64; each certificate,
at 5%, sees 256 fresh examples, or in one column the 64 that chose. An update does harm where the
mean over the whole retain set says so: in its slope, `<grad R, update> > 0`, or in its loss.

A cell holds how many of the updates that were applied do harm. After the comma, with Clopper and
Pearson's 95% interval, to first order: how many percent of the harmful proposals these are, **which
is what a certificate of the direction bounds**, at 5%. For the loss: how many percent of all draws,
for how many of all proposals raise it is known for a part only; a certificate of the loss bounds
this, and neither bounds the other's harm. Nor does one bound the share of the applied that does
harm: where no update is good, few pass, and all of these are errors. Other levels,
batch sizes, scenarios and random labels are in *With a certificate*.

Under Bonferroni's and Benjamini and Hochberg's levels hardly a coordinate passes but those that the
batch shows as neutral. A few examples then carry the mean; a batch of 256 rarely shows them, and
what does harm passes more often than the level says. A loss, moreover, changes by less than float32
shows for most examples, and zeros count as harmless. How little harm that is, the last table of
each method says."""


def rule_tables(rows: list[Row]) -> list[str]:
    """What each rule applied, by base method."""
    sections = ["## Several certificates", _MEANING]
    for base in dict.fromkeys(row["base"] for row in rows):
        mine = [row for row in rows if row["base"] == base]
        draws = count(mine, "draws", mine[0]["rule"], "none")
        steps = ", ".join(str(step) for step in sorted({row["step"] for row in mine}))
        sections += [
            f"### {base}: {draws} draws at steps {steps}",
            "Harm to first order:",
            _table(mine, _slope),
            "Harm to the loss (without a certificate, known for a part of the draws):",
            _table(mine, _loss),
            "Updates that do no harm to first order, and how many percent of them are applied:",
            _table(mine, _power),
            "Mean rise of the retain loss where it rises, in nats:",
            _table(mine, _rise),
        ]
    return sections


def run_table(rows: list[Row]) -> list[str]:
    """What whole runs applied."""
    head = (
        "method", "arm", "steps", "applied", "raise the loss", "beyond tolerance",
        "percent of applied", "retain loss", "forget acc.", "retain acc.", "test fell by at most",
    )  # fmt: skip
    body = [
        (
            row["base"], row["arm"], str(row["steps"]), str(row["applied"]), str(row["loss_up"]),
            str(row["beyond"]), Share(row["beyond"], row["applied"]).percent(interval=True),
            f"{row['retain_loss_before']:.2g} to {row['retain_loss_after']:.2g}",
            f"{row['forget_before']:.1f} to {row['forget_after']:.1f}",
            f"{row['retain_before']:.1f} to {row['retain_after']:.1f}",
            "" if row["fall_bound"] is None else f"{round(row['fall_bound'], 1) + 0.0:.1f}",
        )
        for row in sorted(rows, key=lambda row: row["base"])
    ]  # fmt: skip
    sentences = [
        f"{what}: of {_sum(those, 'steps')} steps {_sum(those, 'applied')} were not zero, "
        f"{_sum(those, 'loss_up')} of these raise the loss at all, and {_sum(those, 'beyond')} by "
        "more than was tolerated, "
        f"{Share(_sum(those, 'beyond'), _sum(those, 'steps')).percent(interval=True)} percent of "
        "the steps and "
        f"{Share(_sum(those, 'beyond'), _sum(those, 'applied')).percent(interval=True)} percent "
        "of those applied."
        for what, those in _certified(rows).items()
    ]
    about = (
        "Runs of `fj.unlearn` on the first scenario; rules and certificates at 5%. After each "
        "step, the loss of the whole retain set. " + " ".join(sentences) + " Without a tolerance "
        "next to nothing passes, for next to no update lowers the loss of data that are fitted; "
        "with one, about half of what passes raises it, by less than the tolerance, which is what "
        "a tolerance is for. Runs of small steps forget next to nothing in so few; those at a rate "
        "of 30 take twice as many, the first 20 of which gather evidence and the next 50 grow. The "
        "last column bounds the fall of test accuracy over the run, in points, at 95% "
        "(`non_inferiority()`); it is empty where nothing was applied."
    )
    return ["## Whole runs", about, table(head, body, left=2)]


def _certified(rows: list[Row]) -> dict[str, list[Row]]:
    ends = {
        "Certified at 5% a step": "certified",
        "With a level of 5% that is earned, `online_fdr()`": "online FDR",
    }
    found = {
        f"{what}, {kind} a tolerance": [
            row
            for row in rows
            if row["arm"].endswith(end) and ("tolerance" in row["arm"]) == (kind == "with")
        ]
        for what, end in ends.items()
        for kind in ("without", "with")
    }
    return {what: those for what, those in found.items() if those}


def _sum(rows: list[Row], name: str) -> int:
    return sum(row[name] for row in rows)


def of_applied(rows: Iterable[Row], rule: str, certificate: str, what: str) -> Share:
    """How many of the updates that were applied harm the ``"slope"`` or the ``"loss"``."""
    rows, known = list(rows), "applied" if what == "slope" else "loss_known"
    return Share(*(count(rows, name, rule, certificate) for name in (f"{what}_up", known)))


def of_harmful(rows: Iterable[Row], rule: str, certificate: str) -> Share:
    """How many of the updates whose slope points up were applied."""
    rows = list(rows)
    return Share(*(count(rows, "slope_up", rule, name) for name in (certificate, "none")))


def of_harmless(rows: Iterable[Row], rule: str, certificate: str) -> Share:
    """How many of the updates whose slope does not point up were applied."""
    rows = list(rows)
    applied, proposed = (
        count(rows, "applied", rule, name) - count(rows, "slope_up", rule, name)
        for name in (certificate, "none")
    )
    return Share(applied, proposed)


def of_draws(rows: Iterable[Row], rule: str, certificate: str) -> Share:
    """In how many of all draws an update was applied that raises the loss."""
    rows = list(rows)
    harmful, known = of_applied(rows, rule, certificate, "loss")
    applied, draws = (count(rows, name, rule, certificate) for name in ("applied", "draws"))
    # Not every draw was looked at: as many of the rest were applied.
    return Share(harmful, round(draws * known / applied) if applied else draws)


def count(rows: Iterable[Row], what: str, rule: str, certificate: str) -> Any:
    """A figure added up over points."""
    return sum(
        row[what] for row in rows if row["rule"] == rule and row["certificate"] == certificate
    )


def _table(rows: list[Row], entry) -> str:
    body = [
        [rule, *(entry(rows, rule, name) for name in CERTIFICATES)]
        for rule in dict.fromkeys(row["rule"] for row in rows)
    ]
    return table(["rule", *CERTIFICATES.values()], body)


def _slope(rows: list[Row], rule: str, certificate: str) -> str:
    harmful, applied = of_applied(rows, rule, certificate, "slope")
    if certificate == "none":
        return f"{harmful} of {applied}"
    share = of_harmful(rows, rule, certificate)
    return f"{harmful} of {applied}, {share.percent(interval=True)}"


def _loss(rows: list[Row], rule: str, certificate: str) -> str:
    harmful, known = of_applied(rows, rule, certificate, "loss")
    return f"{harmful} of {known}, {of_draws(rows, rule, certificate).percent(interval=True)}"


def _power(rows: list[Row], rule: str, certificate: str) -> str:
    share = of_harmless(rows, rule, certificate)
    return str(share.total) if certificate == "none" else share.percent(interval=True)


def _rise(rows: list[Row], rule: str, certificate: str) -> str:
    risen = count(rows, "loss_up", rule, certificate)
    return f"{count(rows, 'rise', rule, certificate) / risen:.1g}" if risen else "-"
