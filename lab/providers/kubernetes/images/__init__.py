"""The images of a Lab in a cluster: built from this package by a Docker engine, named by what they are made of, pushed or loaded."""

from __future__ import annotations

from lab.providers.kubernetes.images.engine import Built, build, problems
from lab.providers.kubernetes.images.handing import load, push

__all__ = ["Built", "build", "load", "problems", "push"]
