"""The documentation's examples run on what the integration tests have made."""

from tests.integration.conftest import evaluated, exported, trained

__all__ = ["evaluated", "exported", "trained"]
