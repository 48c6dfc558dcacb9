"""Engines: what runs an integer graph, how we know that it runs it right, and which is fastest here."""

from intact.engine.backend import Backend, EngineError, Observation, Options, Session
from intact.engine.backends import find
from intact.engine.choose import CONFORMS, Loaded, Tried, load, reload
from intact.engine.conformance import digest_run, digests, inputs_of, make_vectors, more_inputs, self_test
from intact.engine.host import Host, describe
from intact.engine.memory import default_path
from intact.engine.pace import EVERY_S, SHARE, Paced
from intact.engine.parallel import Spread, over_processes, over_threads
from intact.engine.reach import read_in_place
from intact.engine.spec import TensorSpec, check_inputs
from intact.engine.survey import survey
from intact.engine.taps import load_session
from intact.engine.vectors import Vectors

__all__ = [
    "CONFORMS",
    "EVERY_S",
    "SHARE",
    "Backend",
    "EngineError",
    "Host",
    "Loaded",
    "Observation",
    "Options",
    "Paced",
    "Session",
    "Spread",
    "TensorSpec",
    "Tried",
    "Vectors",
    "check_inputs",
    "default_path",
    "describe",
    "digest_run",
    "digests",
    "find",
    "inputs_of",
    "load",
    "load_session",
    "make_vectors",
    "more_inputs",
    "over_processes",
    "over_threads",
    "read_in_place",
    "reload",
    "self_test",
    "survey",
]
