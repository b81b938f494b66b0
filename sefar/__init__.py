"""SeFAR: semi-supervised fine-grained action recognition (arXiv 2501.01245)."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sefar")
except PackageNotFoundError:  # used from a source tree that was never installed
    __version__ = "0.1.0"
