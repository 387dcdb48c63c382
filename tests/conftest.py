"""What holds for the whole suite."""

import hypothesis

# How long an example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile("t5distill", deadline=None)
hypothesis.settings.load_profile("t5distill")
