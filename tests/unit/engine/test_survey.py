"""What `intact doctor` tells about engines."""

from __future__ import annotations

from intact.engine import trial
from intact.engine.backends import find
from intact.engine.survey import survey


def test_every_variant_of_every_engine_has_an_outcome(monkeypatch):
    monkeypatch.setattr(trial, "CHILD", "import os; os.abort()")
    outcomes = {tried.name: tried.outcome for tried in survey()}
    assert outcomes["reference"] == "conforms"
    assert outcomes["onnxruntime/float"] == "conforms"
    if find()["openvino"].why_unavailable() is None:
        assert "signal 6" in outcomes["openvino"]
