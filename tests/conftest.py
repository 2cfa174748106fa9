"""Fixtures of the whole session."""

from tests.clusters import shared_cluster

__all__ = ["shared_cluster"]
