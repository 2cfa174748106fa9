"""Ports of services: proof of who listens on them, and another try after a race for one."""

from __future__ import annotations

from lab.listening import PortTaken, again_if_taken, confirm, listening, until
from lab.ports import LOOPBACK, free

__all__ = ["LOOPBACK", "PortTaken", "again_if_taken", "confirm", "free", "listening", "until"]
