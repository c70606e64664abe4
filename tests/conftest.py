"""How Hypothesis behaves everywhere: the same examples every run, and no verdict on how busy the machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady",
    deadline=None,  # a slow machine is no failure
    derandomize=True,  # a test that passed passes again; the nightly runs look further
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")
