"""The results of the moments benchmark as Markdown."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def markdown(results: dict[str, Any]) -> str:
    """The machine, the ratios at a glance, and a table for each model."""
    rows = results["rows"]
    parts = [_machine(results), _overview(rows)]
    parts += [_details([row for row in rows if row["model"] == model]) for model in _models(rows)]
    return "\n\n".join(parts) + "\n"


def cell_lines(rows: Sequence[Row]) -> list[str]:
    """The rows of one cell for a terminal."""
    lines = [f"{rows[0]['title']}, B = {rows[0]['batch_size']}"]
    for row in rows:
        if row["left_out"]:
            said = f"left out: {row['left_out']}"
        else:
            about = [f"{seconds_text(row['seconds']):>8}", f"{ratio_text(row['ratio']):>6}"]
            about.append(f"{len(row['times'])} rounds")
            if row["temp_bytes"] is not None:
                about.append(f"{_memory(row['temp_bytes'])} scratch")
            if row["compile_seconds"] is not None:
                about.append(f"compiled in {row['compile_seconds']:.1f} s")
            said = "  ".join(about)
        lines.append(f"  {row['label']:<24}{said}")
    return lines


def seconds_text(seconds: float) -> str:
    """Three digits, in milliseconds below a second."""
    return f"{_digits(1000 * seconds)} ms" if seconds < 1 else f"{_digits(seconds)} s"


def ratio_text(ratio: float | None) -> str:
    """Two digits after the point below 10, none above."""
    if ratio is None:
        return "-"
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def _memory(size: int) -> str:
    return f"{_digits(size / 2**20)} MiB" if size >= 2**20 else f"{_digits(size / 2**10)} KiB"


def _models(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["model"] for row in rows))


def _machine(results: dict[str, Any]) -> str:
    about = results["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    chip = f"{about['accelerator']}; " if about.get("accelerator") else ""
    text = (
        f"{chip}{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['os']}; "
        f"Python {about['python']}, {packages}; {results['date']}. Medians; a ratio is to the "
        "plain gradient of the same framework."
    )
    return text + (" Smoke sizes: the times mean nothing." if results["smoke"] else "")


def _overview(rows: Sequence[Row]) -> str:
    labels = {row["contender"]: row["label"] for row in rows if not row["is_baseline"]}
    cells = dict.fromkeys((row["model"], row["batch_size"]) for row in rows)
    ratios = {(row["model"], row["batch_size"], row["contender"]): row["ratio"] for row in rows}
    body = [
        [model, str(size)]
        + [ratio_text(ratios.get((model, size, contender))) for contender in labels]
        for model, size in cells
    ]
    return _table(["model", "B", *labels.values()], body)


def _compile_time(row: Row, baseline: float | None) -> str:
    seconds = row["compile_seconds"]
    if seconds is None:
        return "-"
    times = "" if row["is_baseline"] or not baseline else f" ({seconds / baseline:.1f}x)"
    return f"{seconds:.1f} s{times}"


def _details(rows: Sequence[Row]) -> str:
    # In JAX alone anything is compiled.
    baselines = {
        row["batch_size"]: row["compile_seconds"] for row in rows if row["contender"] == "plain"
    }
    body = [
        [
            row["label"],
            str(row["batch_size"]),
            seconds_text(row["seconds"]),
            ratio_text(row["ratio"]),
            "-" if row["temp_bytes"] is None else _memory(row["temp_bytes"]),
            _compile_time(row, baselines.get(row["batch_size"])),
            str(len(row["times"])),
        ]
        for row in rows
        if not row["left_out"]
    ]
    head = ["", "B", "time", "ratio", "scratch memory", "compile time", "rounds"]
    parts = [f"### {rows[0]['title']} ({rows[0]['parameters']:,} parameters)", _table(head, body)]
    return "\n\n".join(parts + _left_out(rows))


def _left_out(rows: Sequence[Row]) -> list[str]:
    sizes: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["left_out"]:
            sizes.setdefault((row["label"], row["left_out"]), []).append(str(row["batch_size"]))
    lines = [
        f"- {label}, B = {' and '.join(at)}: {reason}" for (label, reason), at in sizes.items()
    ]
    return ["Left out:\n\n" + "\n".join(lines)] if lines else []


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    alignment = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, alignment, *body])
