"""A second reader, written from docs/spec/artifact.md alone: nothing of Intact reads here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pyrage
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from intact import seal
from intact.seal.recipient import KeyPair

INT4, UINT4 = np.dtype(ml_dtypes.int4), np.dtype(ml_dtypes.uint4)
DTYPES = dict(
    zip(
        ["BOOL", "U8", "I8", "U16", "I16", "F16", "U32", "I32", "F32", "U64", "I64", "F64", "I4", "U4"],
        ["?", "u1", "i1", "<u2", "<i2", "<f2", "<u4", "<i4", "<f4", "<u8", "<i8", "<f8", INT4, UINT4],
        strict=True,
    )
)


def jcs(value: Any) -> bytes:
    """Canonical JSON, enough for values without floats and with keys in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-512 (RFC 5869, section 2.3)."""
    first = hmac.digest(key, info + b"\x01", "sha512")
    return (first + hmac.digest(key, first + info + b"\x02", "sha512"))[:length]


def derive(data_key: bytes, purpose: str, context: dict[str, Any]) -> bytes:  # section 4
    return expand(data_key, b"intact/v1/" + purpose.encode() + b"\0" + jcs(context), 32)


def open_message(key: bytes, message: bytes) -> bytes:  # section 4, messages
    salt, commitment = message[:24], message[24:56]
    derived = expand(key, b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt, 76)
    assert derived[44:] == commitment
    plain = b""
    for number, start in enumerate(range(56, len(message), 16400)):
        nonce = (int.from_bytes(derived[32:44], "big") ^ number).to_bytes(12, "big")
        plain += AESGCM(derived[:32]).decrypt(nonce, message[start : start + 16400], None)
    assert (len(message) - 56) % 16400 >= 16
    return plain


def unframe(frame: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(frame)


def unpack(data: bytes, bits: int, count: int) -> list[int]:  # section 9, packed codes
    padded, start = (count + 7) // 8 * 8, 0
    codes = [0] * padded
    for width in {7: (4, 2, 1), 6: (4, 2), 5: (4, 1), 3: (2, 1)}.get(bits, (bits,)):
        size = width * padded // 8
        for i in range(padded):
            codes[i] = codes[i] << width | data[start + i % size] >> width * (i // size) & (1 << width) - 1
        start += size
    assert (start, codes[count:]) == (len(data), [0] * (padded - count))
    return codes[:count]


def expand_form(data: bytes, spec: dict[str, Any]) -> bytes:  # sections 8 and 9
    form, given, shape, size = spec["form"], spec["parameters"], spec["shape"], np.dtype(DTYPES[spec["dtype"]]).itemsize
    if form == "raw":
        return data
    rows, columns = (shape[0] if shape else 1), int(np.prod(shape[1:]))
    step = max(1, 262144 // columns)
    chunks = [min(step, rows - start) * columns for start in range(0, rows, step)]
    pieces = cut(data, {"zstd": len(chunks), "planes": size * len(chunks), "codes": 1 + len(chunks)}, spec, len(chunks))
    if form == "zstd":
        return b"".join(pieces)
    if form == "planes":
        chunked = [pieces[start : start + size] for start in range(0, len(pieces), size)]
        return b"".join(np.array([list(plane) for plane in planes], np.uint8).T.tobytes() for planes in chunked)
    factors = [1] * (rows * columns)
    if form != "codes" and given["group"]:
        factors = multipliers(pieces.pop(0), pieces.pop(0), given, rows, columns)
    book, values = pieces.pop(0), []
    assert len(book) == given["values"] * size
    for count in chunks:
        if form == "sparse":
            mask = pieces.pop(0)
            kept = [mask[i // 8] >> i % 8 & 1 for i in range(8 * len(mask))]
            assert (len(mask), sum(kept[count:])) == ((count + 7) // 8, 0)
            codes = iter(unpack(pieces.pop(0), given["bits"], sum(kept)))
            values += [book[next(codes)] if bit else 0 for bit in kept[:count]]
        else:
            indices = unpack(pieces.pop(0), given["bits"], count)
            values += [book[i * size : (i + 1) * size] for i in indices]
    if size > 1:
        return b"".join(values)
    plain = [int.from_bytes(value, "little") if isinstance(value, bytes) else value for value in values]
    return bytes(factor * value % 256 for factor, value in zip(factors, plain, strict=True))


def cut(data: bytes, counts: dict[str, int], spec: dict[str, Any], chunks: int) -> list[bytes]:
    """Section 9, words and pieces."""
    extra = 2 if spec["parameters"].get("group") else 0
    count = (counts | {"multiples": 3 + chunks, "sparse": extra + 1 + 2 * chunks})[spec["form"]]
    start, pieces = 4 * count, []
    for word in np.frombuffer(data[:start], "<u4").tolist():
        body = data[start : start + word % 2**31]
        pieces.append(unframe(body) if word >= 2**31 else body)
        start += word % 2**31
    assert start == len(data)
    return pieces


def multipliers(book: bytes, codes: bytes, given: dict[str, int], rows: int, columns: int) -> list[int]:
    """Section 9, the multiplier of every element."""
    axis, group = given["axis"], given["group"]
    down, across = (rows, -(-columns // group)) if axis else (-(-rows // group), columns)
    found = [book[code] for code in unpack(codes, given["multiplier_bits"], down * across)]
    assert len(book) == given["multipliers"]
    places = ((r, c // group) if axis else (r // group, c) for r in range(rows) for c in range(columns))
    return [found[r * across + c] for r, c in places]


def check_signature(files: dict[str, bytes], signer: Any) -> None:
    envelope = json.loads(files["model.sig"])["dsseEnvelope"]
    kind, text = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    assert kind == b"application/vnd.in-toto+json"
    signer.verify(signature, b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(text), text))
    statement = json.loads(text)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    assert statement["predicate"]["serialization"]["method"] == "files"
    digests = {each["name"]: each["digest"] for each in statement["predicate"]["resources"]}
    unsigned = {"model.sig", "countersignatures.json", "keys.json"}
    assert digests == {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name not in unsigned}
    root = hashlib.sha256(b"".join(bytes.fromhex(digests[name]) for name in sorted(digests))).hexdigest()
    assert [subject["digest"] for subject in statement["subject"]] == [{"sha256": root}]


def open_artifact(path: Path, identity: str, signer: Any) -> dict[str, Any]:
    files = {file.name: file.read_bytes() for file in path.iterdir()}
    check_signature(files, signer)  # section 2
    manifest = json.loads(files["manifest.json"])  # section 3
    assert (manifest["format"], manifest["suite"]) == (1, "intact-1-sealed")
    for key, name in [("header", "header.enc"), ("lineage", "lineage.json")]:
        digest = blake3(files[name]).hexdigest()
        assert manifest[key] == {"size": len(files[name]), "blake3": digest}
    keys = json.loads(files["keys.json"])  # section 4
    key = pyrage.x25519.Identity.from_str(identity)
    name = blake3(b"x25519\0" + str(key.to_public()).encode()).hexdigest()[:32]
    (entry,) = [each for each in keys["recipients"] if (each["kind"], each["id"]) == ("x25519", name)]
    data_key = pyrage.decrypt(base64.b64decode(entry["wrapped"]), [key])
    place = {"artifact": manifest["artifact"], "revision": manifest["revision"]}
    assert derive(data_key, "commitment", place).hex() == manifest["key_commitment"]
    entries = blake3(jcs(keys["recipients"])).hexdigest()
    assert derive(data_key, "recipients", place | {"entries": entries}).hex() == keys["mac"]
    private = open_message(derive(data_key, "header", place), files["header.enc"])
    first, _, graph = (private if private[:1] == b"{" else unframe(private)).partition(b"\n")
    header = json.loads(first)  # section 6
    assert header["lineage_blake3"] == manifest["lineage"]["blake3"]
    assert header["policy_blake3"] == blake3(jcs(manifest["policy"])).hexdigest()
    weights = files["weights.safetensors"]  # section 5
    size = int.from_bytes(weights[:8], "little")
    index, body, tensors = json.loads(weights[8 : 8 + size]), weights[8 + size :], {}
    for number, (spec, entry) in enumerate(zip(header["tensors"], manifest["tensors"], strict=True)):
        begin, end = index[f"t{number:05d}"]["data_offsets"]
        data, cut = body[begin:end], 56 + 64 * 16400
        pieces = [data[:cut], *[data[start : start + 64 * 16400] for start in range(cut, len(data), 64 * 16400)]]
        assert [blake3(piece).hexdigest() for piece in pieces] == entry["segments"]
        context = place | {"dtype": spec["dtype"], "index": number, "shape": spec["shape"]}
        plain = open_message(derive(data_key, "tensor", context), data)
        plain = expand_form(plain, spec)
        assert blake3(plain).hexdigest() == spec["blake3"]
        tensors[spec["name"]] = np.frombuffer(plain, DTYPES[spec["dtype"]]).reshape(spec["shape"])
    return {"graph": graph, "tensors": tensors, "metadata": header["metadata"], "card": manifest["card"]}


def test_a_second_reader_reads_the_same(
    tmp_path: Path, payload: seal.Payload, owner: KeyPair, signer: seal.SigningKey
) -> None:
    seal.write(payload, tmp_path / "m.intact", recipients=[owner.recipient], signer=signer)
    identity = owner.identity.secret.value.decode()
    found = open_artifact(tmp_path / "m.intact", identity, signer.verifying_key.key)
    assert (found["graph"], found["metadata"], found["card"]) == (payload.program.model, payload.header, payload.card)
    assert found["tensors"].keys() == payload.program.tensors.keys()
    for name, tensor in payload.program.tensors.items():
        np.testing.assert_array_equal(found["tensors"][name], tensor, strict=True)
