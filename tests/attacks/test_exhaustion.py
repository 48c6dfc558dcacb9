"""Someone wants the reader to run out of memory or time."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable

import forge
import numpy as np
import onnx
import pytest
import zstandard
from onnx import TensorProto, helper, numpy_helper
from victims import Victim

from intact import engine, seal
from intact.engine import Options
from intact.engine.probes import Span
from intact.engine.vectors import Case, Sample, Vectors
from intact.errors import AccessError, IntegrityError, ModelError
from intact.graph import Program
from intact.seal.recipients import passphrase
from intact.wire import encode

Copy = Callable[[str], Victim]


@pytest.fixture(autouse=True)
def bounded() -> None:
    """Every refusal here takes little memory and time."""
    tracemalloc.start()
    start = time.monotonic()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("length", [10**18, 2**63, 2**64 - 1, 2**32, 0])
def test_a_huge_safetensors_header_is_refused(victim: Copy, length: int) -> None:
    target = victim("bare")
    path = target.path / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    with pytest.raises(IntegrityError, match="another index"):
        target.read(allow_unsigned=True)


@pytest.mark.parametrize("shape", [[10**18], [2**53 - 1], [2**40], [10**9, 10**9], [0, 10**18], [2**31] * 32, [1] * 99])
def test_a_huge_tensor_is_refused(victim: Copy, shape: list[int]) -> None:
    target = victim("bare")
    manifest = forge.load(target.path)
    manifest["tensors"][0]["shape"] = shape
    if max(shape) < 2**53:
        forge.store(target.path, manifest)
    else:
        text = encode(manifest | {"tensors": 0}).replace(b'"tensors":0', b'"tensors":[{"shape":%d}]' % max(shape))
        (target.path / "manifest.json").write_bytes(text)
    with pytest.raises(IntegrityError):
        target.read(allow_unsigned=True)


@pytest.mark.parametrize("key", ["header", "lineage"])
def test_a_huge_size_is_refused(victim: Copy, key: str) -> None:
    target = victim("bare")
    manifest = forge.load(target.path)
    manifest[key]["size"] = 10**15
    forge.store(target.path, manifest)
    with pytest.raises(IntegrityError, match=r"bytes, manifest\.json calls for 1000000000000000"):
        target.read(allow_unsigned=True)


@pytest.mark.parametrize(
    ("name", "size"),
    [("model.sig", 2**40), ("keys.json", 2**40), ("manifest.json", 2**40), ("weights.safetensors", 2**43)],
)
def test_a_huge_sparse_file_is_refused_unread(victim: Copy, name: str, size: int) -> None:
    target = victim("tiny")
    with (target.path / name).open("r+b") as file:
        file.truncate(size)
    with pytest.raises(IntegrityError, match=rf"{name} has {size} bytes, more than the \d+ allowed"):
        target.read()


@pytest.mark.parametrize("name", ["manifest.json", "lineage.json", "model.sig"])
@pytest.mark.parametrize("text", [b"[" * 60_000, b'{"a":' * 10_000, b"1" * 60_000, b"1e" + b"9" * 60_000])
def test_deep_or_long_json_is_refused(victim: Copy, name: str, text: bytes) -> None:
    target = victim("bare")
    (target.path / name).write_bytes(text)
    if name == "lineage.json":
        forge.fix_digests(target.path)
    with pytest.raises(IntegrityError, match=r"is not (canonical )?JSON|is no Sigstore bundle"):
        target.read(allow_unsigned=True)


@pytest.mark.parametrize("value", [b"[]", b"{}", b"0", b'""', b"[0]", b'{"a":0}'])
def test_a_description_of_endless_values_is_refused_unparsed(victim: Copy, value: bytes) -> None:
    target = victim("bare")
    text = b"[" + value + (b"," + value) * (2 * 2**20 // (1 + len(value))) + b"]"
    genuine = (target.path / "manifest.json").read_bytes()
    (target.path / "manifest.json").write_bytes(text)
    for action in (seal.inspect, lambda path: seal.read(path, allow_unsigned=True)):
        with pytest.raises(IntegrityError, match=r"manifest\.json of \d+ bytes has more than the \d+ values allowed"):
            action(target.path)
    (target.path / "manifest.json").write_bytes(genuine)
    (target.path / "lineage.json").write_bytes(text)
    forge.fix_digests(target.path)
    with pytest.raises(IntegrityError, match=r"lineage\.json of \d+ bytes has more than the \d+ values allowed"):
        seal.inspect(target.path)


@pytest.mark.parametrize("shape", [[2**42], [2**21, 2**21], [1, 2**31], [2**31, 1], [10**5, 10**5], [2**28]])
def test_a_stored_tensor_that_would_fill_memory_is_refused(victim: Copy, shape: list[int]) -> None:
    target = victim("packed bare")
    header, graph = forge.load_header(target.path)
    for tensor in header["tensors"]:
        kept = tensor["shape"]
        tensor["shape"] = shape
        forge.store_header(target.path, header, graph)
        with pytest.raises(IntegrityError, match="is stored in"):
            target.read(allow_unsigned=True)
        tensor["shape"] = kept


def test_a_frame_that_would_fill_memory_is_refused(victim: Copy) -> None:
    target = victim("packed bare")
    header, _ = forge.load_header(target.path)
    number = next(place for place, tensor in enumerate(header["tensors"]) if tensor["form"] == "zstd")
    bomb = zeros_frame(2**36)
    forge.replace_tensor(target.path, number, struct.pack("<I", 2**31 + len(bomb)) + bomb)
    with pytest.raises(IntegrityError, match="has 68719476736 bytes, wanted 960"):
        target.read(allow_unsigned=True)
    for size in (2**26, 2**36, 2**62):
        (target.path / "header.bin").write_bytes(zeros_frame(size))
        forge.fix_digests(target.path)
        with pytest.raises(IntegrityError, match="more than it may"):
            target.read(allow_unsigned=True)


def zeros_frame(size: int) -> bytes:
    """Return a Zstandard frame that says it holds `size` bytes, and begins with zeros."""
    small = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(bytes(2**20))
    assert small[4] >> 6 == 0  # its content size is not there: eight bytes of it follow the window
    return small[:4] + bytes([small[4] | 0xC0]) + small[5:6] + struct.pack("<Q", size) + small[6:]


def test_ten_thousand_stray_files_stop_at_the_first(victim: Copy) -> None:
    target = victim("tiny")
    for number in range(10_000):
        (target.path / f"{number}").touch()
    with pytest.raises(IntegrityError, match="does not belong"):
        target.read()


def test_a_key_file_that_asks_for_endless_work_is_refused(victim: Copy) -> None:
    target = victim("tiny")
    stanza = (
        b"age-encryption.org/v1\n-> scrypt bEuL9vtnHZEmBSeMdo14kg %d\nWlj1qrpCqApVForr7LFx6Bm8fT/YhiqntMSF0wngA68\n"
    )
    for work in (passphrase.MAX_WORK + 1, 30, 63, 99):
        forge.replace_wrapped(target.path, "passphrase", stanza % work + b"--- 4lbiuXRwmfanBg\n")
        with pytest.raises(AccessError, match="passphrase does not unwrap"):
            seal.read(
                target.path,
                identities=[seal.passphrase_identity("words")],
                signers=[target.signer.verifying_key],
            )


@pytest.mark.parametrize(
    ("kind", "size", "count", "message"),
    [
        ("x25519", 100, 257, "257 recipients, wanted 1 to 256"),
        ("x25519", 1, 7000, "7000 recipients"),
        ("x25519", 6145, 1, "a field that is out of range"),
        ("x25519", 700_000, 1, "a field that is out of range"),
        ("passphrase", 200, 9, "9 passphrases, at most 8 allowed"),
    ],
)
def test_a_key_file_of_endless_entries_is_refused(victim: Copy, kind: str, size: int, count: int, message: str) -> None:
    target = victim("tiny")
    forge.replace_wrapped(target.path, kind, bytes(size), count)
    with pytest.raises(IntegrityError, match=message):
        target.read()


def program(*nodes: onnx.NodeProto, **constants: np.ndarray) -> Program:
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "graph", values[:1], values[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return Program(model=model.SerializeToString(), tensors={})


def self_test(size: int = 1) -> Vectors:
    sample = Sample(shape=(1,), stride=1, values=np.zeros(1, np.float32))
    case = Case(kind="uniform", sizes={"n": size}, outputs={"y": sample})
    spans = {"x": Span(low=0, high=1)}
    return Vectors(profile="tolerant", seed=0, spans=spans, cases=(case,), bound=1.0, element_bound=1.0)


@pytest.mark.parametrize("engines", [None, ["onnxruntime"], ["reference"]])
def test_a_graph_that_asks_for_endless_work_or_memory_is_refused(engines: list[str] | None) -> None:
    names = [helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", 7), ("c", 9), ("d", 9))]
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "body", names[:2], names[2:])
    forever = program(helper.make_node("Loop", ["m", "t"], ["y"], body=body), m=np.array(2**62), t=np.array(True))
    filled = program(helper.make_node("ConstantOfShape", ["s"], ["y"]), s=np.array([40000, 40000]))
    tiled = program(helper.make_node("Tile", ["x", "r"], ["y"]), r=np.array([2**40]))
    counted = program(
        helper.make_node("Range", ["a", "b", "d"], ["y"]), a=np.array(0), b=np.array(2**50), d=np.array(1)
    )
    for bomb in (forever, filled, tiled, counted):
        with pytest.raises(ModelError, match=r"run without end|more than 268435456"):
            engine.load(bomb, self_test(), engines=engines)


def test_a_self_test_on_endless_inputs_is_refused() -> None:
    loaded = engine.find()["reference"].load(program(helper.make_node("Relu", ["x"], ["y"])), Options(), "default")
    with pytest.raises(ModelError, match="more than 67108864"):
        engine.self_test(loaded, self_test(1 << 40))


def test_a_self_test_of_endless_cases_or_outputs_is_refused() -> None:
    record = self_test().to_json()
    case = record["cases"][0]
    outputs = {str(number): case["outputs"]["y"] for number in range(2000)}
    for cases in ([case] * 1000, [{**case, "outputs": outputs}]):
        with pytest.raises(IntegrityError, match="conformance vectors cannot be read"):
            Vectors.from_json({**record, "cases": cases})
