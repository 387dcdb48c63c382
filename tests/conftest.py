"""What holds for the whole suite, and what it says at its end about the machine it ran on."""

import os

import hypothesis

# Most of the suite's time goes into compiling small programs that run once: without optimising, and
# with the older of XLA's two ways to write loops, it takes a quarter less. It has to be said before
# JAX starts, and holds for the processes that tests start too.
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0 "
    "--xla_cpu_use_fusion_emitters=false"
).strip()

# TensorFlow reads these when it is loaded. A bucket that refuses would be asked again for minutes.
os.environ.setdefault("GCS_RETRY_CONFIG_MAX_RETRIES", "1")
os.environ.setdefault("GCS_RETRY_CONFIG_INIT_DELAY_TIME_US", "1000")

# How long an example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile("t5distill", deadline=None)
hypothesis.settings.load_profile("t5distill")


def pytest_terminal_summary(terminalreporter):
    """Print the isolation that untrusted programs had, where any of them ran."""
    levels = set()
    for reports in terminalreporter.stats.values():
        for report in reports:
            levels |= {value for name, value in getattr(report, "user_properties", ())
                       if name == "isolation"}  # fmt: skip
    if levels:
        terminalreporter.write_line(f"isolation of untrusted programs: {', '.join(sorted(levels))}")
