"""What the functions of this package take as bytes."""

from __future__ import annotations

from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Contiguous bytes that can be looked at without a copy; `array.data` of a numpy array is one."""
