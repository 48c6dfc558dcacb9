"""The definition: ONNX graphs in exact integer arithmetic, on numpy."""

from intact.engine.exact.interpret import Plan, Trace, execute, prepare

__all__ = ["Plan", "Trace", "execute", "prepare"]
