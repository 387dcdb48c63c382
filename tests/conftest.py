"""What the suite says at its end about the machine it ran on."""


def pytest_terminal_summary(terminalreporter):
    """Print the isolation that untrusted programs had, where any of them ran."""
    levels = set()
    for reports in terminalreporter.stats.values():
        for report in reports:
            levels |= {value for name, value in getattr(report, "user_properties", ())
                       if name == "isolation"}  # fmt: skip
    if levels:
        terminalreporter.write_line(f"isolation of untrusted programs: {', '.join(sorted(levels))}")
