"""Where the integers came from."""

from __future__ import annotations

import numpy as np

from intact.graph.program import Program
from intact.pipeline.lineage import digest, statement, tool_versions

PROGRAM = Program(model=b"graph", tensors={"a": np.arange(4, dtype=np.int8), "b": np.ones((2, 2), np.float32)})


def test_the_digest_is_of_graph_names_types_shapes_and_values() -> None:
    wanted = digest(PROGRAM)
    assert wanted == digest(Program(model=b"graph", tensors=dict(reversed(PROGRAM.tensors.items()))))
    others = [
        Program(model=b"graph!", tensors=PROGRAM.tensors),
        Program(model=b"graph", tensors={"a": PROGRAM.tensors["a"]}),
        Program(model=b"graph", tensors={"c": PROGRAM.tensors["a"], "b": PROGRAM.tensors["b"]}),
        Program(model=b"graph", tensors={**PROGRAM.tensors, "a": PROGRAM.tensors["a"].astype(np.uint8)}),
        Program(model=b"graph", tensors={**PROGRAM.tensors, "a": PROGRAM.tensors["a"].reshape(2, 2)}),
        Program(model=b"graph", tensors={**PROGRAM.tensors, "a": PROGRAM.tensors["a"] + np.int8(1)}),
    ]
    assert len({wanted, *(digest(other) for other in others)}) == 7


def test_the_statement_is_in_toto_and_the_same_each_time() -> None:
    arguments = {"name": "m", "program": PROGRAM, "source_sha256": "0" * 64, "recipe": {"seed": 0}, "accuracy": None}
    first, second = (statement(**arguments) for _ in range(2))
    assert first == second
    assert first["_type"] == "https://in-toto.io/Statement/v1"
    assert first["predicateType"] == "https://slsa.dev/provenance/v1"
    assert first["subject"] == [{"name": "m", "digest": {"sha256": digest(PROGRAM)}}]
    assert "intact" in tool_versions()
