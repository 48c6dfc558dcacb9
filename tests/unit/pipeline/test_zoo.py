"""Models in the manner of well-known ones go the whole way, from torch to an engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intact
from intact import engine
from intact.errors import CheckFailed
from support.zoo import ZOO, member


# the engine's noise measurement moves a causal mask of the least float32 beyond it
@pytest.mark.parametrize("name", ZOO)
def test_well_known_kinds_of_model_are_built(name: str) -> None:
    module, inputs, exact = member(name)
    spec = intact.Spec(model=module, inputs=tuple(value[:2] for value in inputs), calibration=inputs, name=name)
    built = intact.build(spec, engines=["onnxruntime"])
    assert built.plan.exact == exact
    assert built.agreement is not None
    assert built.agreement.cosine > 0.999
    with torch.no_grad():
        wanted = module(*(torch.from_numpy(value) for value in inputs)).numpy()
    found = built(inputs)
    assert found.shape == wanted.shape
    assert np.linalg.norm(found - wanted) < 0.05 * np.linalg.norm(wanted)
    if exact:
        same_on_other_engines(built, dict(zip([port.name for port in built.inputs], inputs, strict=True)), found)


def same_on_other_engines(built: intact.Built, feeds: dict[str, np.ndarray], wanted: np.ndarray) -> None:
    (name,) = built.outputs
    for backend in engine.find().values():
        rows = 4 if backend.name == "reference" else len(wanted)
        if backend.why_unavailable() is not None:
            continue
        session = backend.load(built.program, engine.Options(threads=1), "default")
        try:
            engine.self_test(session, built.vectors)
        except CheckFailed:
            assert backend.name == "openvino"  # whose faults the self-test is there for
            continue
        found = session.run({key: value[:rows] for key, value in feeds.items()})[name]
        np.testing.assert_array_equal(found, wanted[:rows], err_msg=backend.name)
