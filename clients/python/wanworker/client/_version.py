"""Version of the distribution `wanworker-client`."""

__version__ = "0.1.0"
