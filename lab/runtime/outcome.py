"""Work in, its result or its exception out: for those who must go on either way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def outcome(work: Awaitable[T]) -> T | BaseException:
    """Its result, or what it raised. Our own cancellation goes through."""
    (found,) = await asyncio.gather(work, return_exceptions=True)
    return found
