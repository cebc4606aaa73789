"""How the hyper-parameters of a run were chosen, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

_SELECTION = (
    "by the mean gap to the retrained model over forget, retain and validation accuracy; "
    "the test set had no say"
)
_LABELS = {
    "steps": "Steps, at most",
    "batch_size": "Batch size",
    "confidence": "Confidence of each test",
    "fraction": "Fraction of the training set to forget",
    "epochs": "Epochs of the original and the retrained model",
    "seeds": "Seeds",
}


def settings_of(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings worth a line, each with its name.

    Args:
      config: as in ``Run.config``; ``"selection"`` may say what learning rates were chosen by.

    Returns:
      Pairs of name and value; what the configuration does not hold is left out.

    >>> settings_of({"batch_size": 128, "seeds": [0, 1]})
    [('Batch size', '128'), ('Seeds', '0, 1')]
    """
    pairs = []
    rates = config.get("learning_rates")
    if isinstance(rates, Sequence) and not isinstance(rates, str) and len(rates) > 1:
        chosen = config.get("selection") or _SELECTION
        text = f"chosen for every method and arm among {_text(rates)}, {chosen}"
        pairs.append(("Learning rate", text))
    elif rates is not None:
        pairs.append(("Learning rate", f"{_text(rates)}, not tuned"))
    known = ((label, config.get(key)) for key, label in _LABELS.items())
    return pairs + [(label, _text(value)) for label, value in known if value is not None]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
