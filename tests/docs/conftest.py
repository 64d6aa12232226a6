"""The documentation's examples run on the scene and the run of the integration tests."""

from tests.integration.conftest import trained

__all__ = ["trained"]
