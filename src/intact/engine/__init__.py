"""Engines: what runs an integer graph, how we know that it runs it right, and which is fastest here."""

from intact.engine.backend import Backend, EngineError, Options, Session
from intact.engine.backends import find
from intact.engine.choose import CONFORMS, Loaded, Tried, load
from intact.engine.conformance import inputs_of, make_vectors, self_test
from intact.engine.host import Host, describe
from intact.engine.memory import default_path
from intact.engine.parallel import Spread, over_processes, over_threads
from intact.engine.spec import TensorSpec, check_inputs
from intact.engine.survey import survey
from intact.engine.vectors import Vectors

__all__ = [
    "CONFORMS",
    "Backend",
    "EngineError",
    "Host",
    "Loaded",
    "Options",
    "Session",
    "Spread",
    "TensorSpec",
    "Tried",
    "Vectors",
    "check_inputs",
    "default_path",
    "describe",
    "find",
    "inputs_of",
    "load",
    "make_vectors",
    "over_processes",
    "over_threads",
    "self_test",
    "survey",
]
