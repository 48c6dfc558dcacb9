"""ONNX graphs as values: load, capture, normalise, look at, run in float."""

from intact.graph.program import Program

__all__ = ["Program"]
