"""Exact gradient moments from closed forms, by transforming the program of the loss."""

from feasible_jax.moments.structured.estimate import structured_moments

__all__ = ["structured_moments"]
