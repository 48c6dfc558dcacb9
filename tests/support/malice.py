"""Files that run code when they are read, each of its own kind; what they run is `true`."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
import zstandard

from support.nets import mlp


class Harmful:
    """Calls os.system when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("true",)


def pickled(protocol: int = 4) -> bytes:
    return pickle.dumps(Harmful(), protocol)


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


def array(value: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, value)
    return out.getvalue()


def checkpoint(**options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2), out, **options)
    return out.getvalue()


def scripted() -> bytes:
    """TorchScript as torch lays it out: its program as text, and pickles."""
    program = b"class Linear(Module):\n  def forward(self, x):\n    return x\n"
    return zipped({"m/code/__torch__.py": program, "m/data.pkl": pickle.dumps({}), "m/version": b"3"})


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        info = tarfile.TarInfo("data.pkl")
        info.size = len(pickled())
        file.addfile(info, io.BytesIO(pickled()))
    return out.getvalue()


def foreign_onnx() -> bytes:
    proto = onnx.load_from_string(mlp())
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "PyOp", "ai.onnx.contrib"
    proto.opset_import.append(onnx.helper.make_opsetid("ai.onnx.contrib", 1))
    return proto.SerializeToString()


def outside_onnx(location: str = "../../etc/passwd") -> bytes:
    proto = onnx.load_from_string(mlp())
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return proto.SerializeToString()


def hidden_onnx() -> bytes:
    """The same, within the branch of an operator."""
    inner = onnx.load_from_string(outside_onnx()).graph
    proto = onnx.load_from_string(mlp())
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("then_branch", inner))
    return proto.SerializeToString()


def safetensors(index: bytes | None = None, data: bytes = b"\0" * 8) -> bytes:
    index = index or b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    return len(index).to_bytes(8, "little") + index + data


HDF5 = b"\x89HDF\r\n\x1a\n"
SPANNED = b'{"a":{"dtype":"U8","shape":[512],"data_offsets":[0,512]}}'
BEFORE_HDF5 = b"\0" * (512 - 8 - len(SPANNED))
"""What stands before byte 512 of a safetensors file with that index."""


def marked(archive: bytes) -> bytes:
    """The same archive: the numbers of its disks, which most readers pass over, look like the record they stand in."""
    return archive[:-18] + b"PK\x05\x06" + archive[-14:]


def crowded() -> bytes:
    """An archive with a directory of more than 1 MiB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for number in range(20):
            info = zipfile.ZipInfo(f"m/{number}")
            info.comment = b"c" * 60_000
            file.writestr(info, pickled())
    return out.getvalue()


def framed() -> bytes:
    """A frame ends within the argument of an opcode: who reads a file drops the rest of it, and reads on."""
    return b"\x95" + (2).to_bytes(8, "little") + b"Jx" + b"\0\0\0\0" + b"0" + pickled(0)


LAMBDA = {"config": {"layers": [{"class_name": "Lambda", "config": {"function": ["4wEAAA=="]}}]}}

SAMPLES: dict[str, tuple[Callable[[], bytes], str]] = {
    **{f"pickle, protocol {n}": (lambda n=n: pickled(n), "pickle") for n in range(6)},
    "torch checkpoint": (checkpoint, "pickle"),
    "torch checkpoint of old": (lambda: checkpoint(_use_new_zipfile_serialization=False), "pickle"),
    "TorchScript": (scripted, "TorchScript"),
    "array of objects": (lambda: array(np.array([Harmful()], dtype=object)), "pickle"),
    "objects deep in a dtype": (lambda: array(np.zeros(2, dtype=[("a", "i4"), ("b", [("c", "O")])])), "pickle"),
    "npz of objects": (lambda: zipped({"a.npy": array(np.array([Harmful()], dtype=object))}), "pickle"),
    "npz with a pickle": (lambda: zipped({"a.npy": array(np.ones(2)), "b.npy": pickled()}), "pickle"),
    "zip in zip": (lambda: zipped({"a.zip": zipped({"b.zip": zipped({"c": pickled()})})}), "pickle"),
    "deflated zip in zip": (lambda: zipped({"a": zipped({"b": pickled()}, zipfile.ZIP_DEFLATED)}, 8), "pickle"),
    "pickle, then zip": (lambda: pickled() + zipped({"a.npy": array(np.ones(2))}), "pickle"),
    "safetensors, then zip": (lambda: safetensors() + zipped({"m/data.pkl": pickled()}), "behind something else"),
    "text, then zip": (lambda: b"# a read-me\n" + zipped({"m/data.pkl": pickled()}), "behind something else"),
    "safetensors that is a pickle": (lambda: b"cos\nsystem\n(S'true'\ntR." + safetensors(), "pickle"),
    "gzip": (lambda: gzip.compress(pickled()), "pickle"),
    "bzip2": (lambda: bz2.compress(pickled()), "pickle"),
    "xz": (lambda: lzma.compress(pickled()), "pickle"),
    "zlib": (lambda: zlib.compress(pickled()), "pickle"),
    "Zstandard": (lambda: zstandard.compress(pickled()), "pickle"),
    "tar": (tar, "tar archive"),
    "Keras, JSON": (lambda: json.dumps(LAMBDA).encode(), "Lambda"),
    "Keras, zip": (
        lambda: zipped({"config.json": json.dumps(LAMBDA).encode(), "w.h5": b"\x89HDF\r\n\x1a\n"}),
        "Lambda",
    ),
    "Keras, HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + b"\0" * 600 + json.dumps(LAMBDA).encode(), "Lambda"),
    "HDF5 after a block": (lambda: b"\0" * 512 + b"\x89HDF\r\n\x1a\n" + json.dumps(LAMBDA).encode(), "Lambda"),
    "HDF5 in safetensors": (lambda: safetensors(SPANNED, BEFORE_HDF5 + HDF5 + b"\0" * 8), "HDF5"),
    "HDF5 far behind": (lambda: b"a" * 2**21 + HDF5, "HDF5"),
    "zip with a second mark": (lambda: safetensors() + marked(zipped({"m/data.pkl": pickled()})), "behind something"),
    "zip of many members": (lambda: safetensors() + crowded(), "whose directory has more"),
    "pickle of a module with a hyphen": (lambda: b"cmy-mod\nf\n(tR.", "a pickle: reading it calls my-mod.f"),
    "pickle behind a bogus frame": (framed, "pickle"),
    "SavedModel": (lambda: b"\x08\x01\x12\x16" + b"tensorflow\0EagerPyFunc", "EagerPyFunc"),
    "GGUF": (lambda: b"GGUF\x03\0\0\0" + b"\x17\0\0\0\0\0\0\0tokenizer.chat_template{{ x }}", "Jinja"),
    "ONNX, foreign operator": (foreign_onnx, "'PyOp' comes from the domain 'ai.onnx.contrib'"),
    "ONNX, data outside": (outside_onnx, "outside the model's folder"),
    "ONNX, data at a path": (lambda: outside_onnx("/etc/passwd"), "outside the model's folder"),
    "ONNX, data inside a branch": (hidden_onnx, "outside the model's folder"),
    "config of remote code": (lambda: b'{"auto_map": {"AutoModel": "modeling.Evil"}}', "auto_map"),
    "YAML": (lambda: b"a: !!python/object/apply:os.system ['true']\n", "!!python/"),
    "YAML, escaped": (lambda: b"a: !!pyth%6fn/object/apply:os.system ['true']\n", "!!pyth%6f"),
    "YAML, whole tag": (lambda: b"- !<tag:yaml.org,2002:python/object/apply:os.system> ['true']\n", "!<"),
    "YAML, other handle": (lambda: b"%TAG !e! tag:yaml.org,2002:py\n---\n!e!thon/name:os.system\n", "%TAG"),
    "script": (lambda: b"#!/bin/sh\ntrue\n", "a script"),
    "program": (lambda: b"\x7fELF" + b"\0" * 60, "program"),
    "Parquet with a Python type": (lambda: parquet(b"..arrow.py_extension_type.."), "extension type"),
    "Parquet with a Python type in base64": (lambda: parquet(b"x" + b"YXJyb3cucHlfZXh0ZW5zaW9uX3R5cGU="), "extension"),
}
"""What each is, how it is made, and a word of what a scan says of it."""


def parquet(footer: bytes = b"footer") -> bytes:
    return b"PAR1" + b"data" + footer + len(footer).to_bytes(4, "little") + b"PAR1"


HONEST: dict[str, tuple[Callable[[], bytes], str]] = {
    "ONNX": (mlp, "ONNX"),
    "safetensors": (safetensors, "safetensors"),
    "safetensors, empty": (lambda: safetensors(b'{"__metadata__":{"a":"b"}}', b""), "safetensors"),
    "npy": (lambda: array(np.ones((3, 4))), "npy"),
    "npy of records": (lambda: array(np.zeros(3, dtype=[("a", "<i4"), ("b", "<f8")])), "npy"),
    "npz": (lambda: zipped({"a.npy": array(np.ones(9)), "b.npy": array(np.arange(3))}), "npz"),
    "npz, deflated": (lambda: zipped({"a.npy": array(np.zeros(10**6))}, zipfile.ZIP_DEFLATED), "npz"),
    "Parquet": (parquet, "Parquet"),
    "JSON": (lambda: b'{"a": [1, 2.5, null], "b": "c"}\n', "JSON"),
    "TOML": (lambda: b'profile = "exact"\n\n[default]\nweights = 4\n', "text"),
    "CSV": (lambda: b"0.5,1\n0.25,2\n", "text"),
    "text": ("Grüße.\r\n".encode, "text"),
    "nothing": (lambda: b"", "text"),
}
"""What a scan lets through: what each is, and the format it has."""
