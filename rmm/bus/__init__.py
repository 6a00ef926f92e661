"""Buses: in this process, and over NATS JetStream."""

from rmm.errors import ConfigError


def available() -> None:
    """ConfigError where the client of the broker is not installed."""
    try:
        import nats  # noqa: F401 - asked for, not used
    except ImportError as error:
        raise ConfigError(
            "this needs nats-py, which is not installed",
            hint="Install rmm with the extra `sites`: pip install 'mytech-rmm[sites]'.",
        ) from error
