"""A local AI cloud and the instrument that measures it."""

__version__ = "0.1.0"
