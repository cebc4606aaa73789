from feasible_jax.report import Run


def test_is_a_plain_tuple():
    rows, config, curves, command = Run([{}], {"a": 1}, {}, "demo")
    assert (rows, config, curves, command) == ([{}], {"a": 1}, {}, "demo")
