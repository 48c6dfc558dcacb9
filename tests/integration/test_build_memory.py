"""How much memory a build takes, in a process of its own that never sees torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from support.nets import Net, data

WIDTH, HIDDEN, BLOCKS = 512, 1024, 8
MB = 1_000_000

BUILD = """
import json, sys
from pathlib import Path
import numpy as np
import intact

def high_water():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
recipe = intact.Recipe(smoothing=0, default=intact.LayerRecipe(**settings))
spec = intact.Spec(model=folder / "net.onnx", calibration={"x": np.load(folder / "x.npy")})
intact.build(spec, recipe=recipe, out=folder / "net.intact", engines=["onnxruntime"], threads=1)
print(json.dumps({"peak": high_water(), "torch": "torch" in sys.modules}))
"""


def residual_net() -> onnx.ModelProto:
    """Dense blocks with a residual connection and a layer norm behind, as in the second half of a transformer's."""
    net = Net(0, x=["n", "length", WIDTH])
    x, bias = "x", np.zeros(HIDDEN, np.float32)
    gain = net.constant(np.ones(WIDTH))
    for _ in range(BLOCKS):
        up = net.op("MatMul", x, net.constant(net.normal(WIDTH, HIDDEN, scale=WIDTH**-0.5)))
        up = net.op("Relu", net.op("Add", up, net.constant(bias)))
        down = net.op("MatMul", up, net.constant(net.normal(HIDDEN, WIDTH, scale=HIDDEN**-0.5)))
        x = net.op("LayerNormalization", net.op("Add", x, down), gain, axis=-1)
    return net.proto(x)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel does not tell the peak")
@pytest.mark.parametrize(
    "settings",
    [{"weights": 8}, {"weights": 4, "group": 32, "activations": "none", "method": "gptq"}],
    ids=["w8a8", "w4-gptq"],
)
def test_a_build_takes_at_most_four_times_the_float_model_and_a_little(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    onnx.save(residual_net(), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", data(0, 64, 16, WIDTH))
    command = [sys.executable, "-c", BUILD, str(tmp_path), json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    size = (tmp_path / "net.onnx").stat().st_size
    assert size > 30 * MB
    assert not told["torch"]
    assert told["peak"] <= 4 * size + 300 * MB
