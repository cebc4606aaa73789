"""How the hyper-parameters of a run were chosen, in words."""

from collections.abc import Mapping
from typing import Any

_SELECTION = (
    "by the mean gap to the retrained model over forget, retain and validation accuracy; "
    "the test set had no say; the first seed searches, further seeds take its choice over"
)
_LABELS = {
    "momentum": "Momentum",
    "batch_size": "Batch size",
    "confidence": "Confidence of each test",
    "confidences": "Confidences of the tests, taken in turn by the trials of an arm that tests",
    "density": "Density of the random mask",
    "fraction": "Fraction of the training set to forget",
    "forget_class": "Class to forget",
    "epochs": "Epochs of the original and the retrained model",
    "seeds": "Seeds",
    "seed": "Seed",
}


def settings_of(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings worth a line, each with its name.

    Args:
      config: as in ``Run.config``, in groups or not; ``"selection"`` may say what learning rates
        were chosen by.

    Returns:
      Pairs of name and value; what the configuration does not hold is left out.

    >>> settings_of({"search": {"batch_size": 128}, "seeds": [0, 1]})
    [('Batch size', '128'), ('Seeds', '0, 1')]
    """
    settings = dict(_flat(config))
    lines = {"Learning rate": _learning_rate(settings), "Steps": _steps(settings)}
    lines |= {label: _text(settings.get(key)) for key, label in _LABELS.items()}
    return [(label, text) for label, text in lines.items() if text]


def _flat(config: Mapping[str, Any]):
    for key, value in config.items():
        if isinstance(value, Mapping) and key != "steps":
            yield from _flat(value)
        else:
            yield key, value


def _learning_rate(settings: Mapping[str, Any]) -> str:
    rates = settings.get("learning_rates") or settings.get("learning_rate")
    if isinstance(rates, list | tuple) and len(rates) > 1:
        chosen = settings.get("selection") or _SELECTION
        return f"chosen for every method and arm among {_text(rates)}, {chosen}"
    return f"{_text(rates)}, not tuned" if rates else ""


def _steps(settings: Mapping[str, Any]) -> str:
    steps, every = _text(settings.get("steps")), settings.get("look_every")
    if steps and every:
        return f"at most {steps}; a look every {every} steps, and the best look is kept"
    return steps


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
