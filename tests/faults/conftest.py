"""What the fault tests share with those of the command line."""

from tests.experiments.conftest import environment, levelburst  # noqa: F401
