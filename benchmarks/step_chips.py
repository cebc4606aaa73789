"""What a result holds for: the chip, and how fast its memory is."""

from typing import Any

import jax

# Gigabytes (10^9) a second, from the makers' data sheets, by what JAX calls the chip.
_PEAK_GB_PER_SECOND = {
    "NVIDIA H100 80GB HBM3": 3350,
    "NVIDIA H200": 4800,
    "NVIDIA A100-SXM4-80GB": 2039,
}


def device() -> dict[str, Any]:
    """The backend, its chip, and the peak of its memory's bandwidth, None where not known here."""
    kind = jax.devices()[0].device_kind
    return {
        "backend": jax.default_backend(),
        "kind": kind,
        "peak_gb_per_second": _PEAK_GB_PER_SECOND.get(kind),
    }
