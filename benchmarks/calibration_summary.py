"""The main figures of the calibration benchmark as two small tables."""

from calibration_counts import Rejections, Share
from calibration_results import Results, rows_of
from calibration_tables import table
from calibration_violations import CERTIFICATES, count, of_applied, of_harmful

from feasible_jax.alignment import DEFAULT_TEST

_ALPHA = 0.05
_SIZES = (64, 256)
_POPULATIONS = ("normal", "lognormal 1.5", "rare harm, 5%", "rare harm, 2%")
_RULES = ("no mask", "sign mask", "coordinatewise", "coordinatewise, curvature", "budget")


def summary(results: Results) -> str:
    """Sizes of the default and of Student's test; harmful updates with and without certificate."""
    parts = (
        "<!-- violations -->",
        _violations(results),
        "<!-- sizes -->",
        _sizes(Rejections(results)),
    )
    return "\n\n".join([*parts, "<!-- end -->"]) + "\n"


def _sizes(found: Rejections) -> str:
    columns = [(test, size) for size in _SIZES for test in (DEFAULT_TEST, "student")]

    def line(title: str, shares: list[Share]) -> list[str]:
        return [title, *(share.percent() for share in shares)]

    body = [
        line(name, [found.share("size", name, size, test, _ALPHA) for test, size in columns])
        for name in _POPULATIONS
    ]
    for kind in ("loss", "direction"):
        names = [name for name in found.populations(real=True) if name.endswith(f", {kind}")]
        for pick, title in ((_together, "all"), (_worst, "the worst")):
            shares = [
                pick([s for name in names for s in found.each("size", name, size, test, _ALPHA)])
                for test, size in columns
            ]
            body.append(line(f"real updates, {kind}, {title}", shares))
    head = ["percent", *(f"{t}, B = {size}" for t, size in columns)]
    return table(head, body)


def _together(shares: list[Share]) -> Share:
    return Share(sum(share.count for share in shares), sum(share.total for share in shares))


def _worst(shares: list[Share]) -> Share:
    return max(shares, key=lambda share: share.value, default=Share(0, 0))


def _violations(results: Results) -> str:
    rows = rows_of(results, "rules")
    names = [name for name in CERTIFICATES if name not in ("none", "loss, 3 halvings")]
    body = []
    for rule in _RULES:
        harmful = Share(*(count(rows, what, rule, "none") for what in ("slope_up", "draws")))
        passed = (
            f"{of_harmful(rows, rule, name).percent()} "
            f"({of_applied(rows, rule, name, 'slope').percent()})"
            for name in names
        )
        body.append([rule, harmful.percent(), *passed])
    head = ["percent", "do harm", *(CERTIFICATES[name] for name in names)]
    return table(head, body)
