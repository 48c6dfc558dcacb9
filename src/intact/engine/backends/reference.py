"""The definition, on numpy: slow, and right by construction."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from intact.engine.backend import Arrays, Backend, Options, Session
from intact.engine.exact import execute, prepare
from intact.engine.spec import graph_of, specs_of
from intact.graph.program import Program


def _load(program: Program, options: Options, variant: str) -> Session:
    plan = prepare(program)
    inputs, outputs = specs_of(graph_of(program).graph)

    def run(values: Arrays) -> dict[str, NDArray[Any]]:
        return dict(execute(plan, values).outputs)

    return Session(engine="reference", variant=variant, inputs=inputs, outputs=outputs, execute=run)


BACKEND = Backend(name="reference", why_unavailable=lambda: None, load=_load, automatic=False, copies=True)
