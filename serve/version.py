"""The version that answers and documentation name."""

from importlib.metadata import version

VERSION = version("signal-engine")
