"""The headline: does a mask improve any method? Gains over the same method's plain form."""

from feasible_jax.report.headline.tables import headline_tables
from feasible_jax.report.headline.write_headline import write_headline

__all__ = ["headline_tables", "write_headline"]
