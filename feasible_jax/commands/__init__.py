"""The subcommands of ``feasible-jax``, one a file."""
