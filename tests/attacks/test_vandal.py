"""The vandal can write to the disk and has no key: every change is refused, nothing is returned."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import forge
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from victims import Victim

from intact import seal
from intact.crypto.chunked import CHUNK_BYTES, PREFIX_BYTES, WIRE_CHUNK_BYTES
from intact.errors import AccessError, IntegrityError
from intact.seal import weights
from intact.seal.recipients import x25519
from intact.wire import decode, encode

Copy = Callable[[str], Victim]

REFUSED = (IntegrityError, AccessError)
SEALED_FILES = ("weights.safetensors", "manifest.json", "lineage.json", "header.enc", "keys.json", "model.sig")


@pytest.mark.parametrize("name", SEALED_FILES)
def test_every_flipped_bit_is_refused(victim: Copy, name: str) -> None:
    target = victim("tiny")
    flip_every_bit(target, name)
    assert target.read().card == {"name": "tiny"}


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json", "lineage.json", "header.enc"])
def test_every_flipped_bit_is_refused_even_unsigned(victim: Copy, name: str) -> None:
    flip_every_bit(victim("unsigned"), name, allow_unsigned=True)


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json", "lineage.json", "header.bin", "model.sig"])
def test_every_flipped_bit_of_a_plain_artifact_is_refused(victim: Copy, name: str) -> None:
    flip_every_bit(victim("plain"), name)


def test_every_flipped_bit_of_stored_forms_is_refused(victim: Copy) -> None:
    flip_every_bit(victim("packed"), "weights.safetensors", allow_unsigned=True)


def test_flipped_bits_under_right_digests_give_a_tensor_or_are_refused(victim: Copy) -> None:
    """Where nothing is encrypted or signed, whoever can write can make any tensor; nothing worse."""
    target, refused = victim("packed bare"), 0
    wanted = {
        name: (tensor.dtype, tensor.shape) for name, tensor in target.read(allow_unsigned=True).program.tensors.items()
    }
    begin, end = forge.tensor_spans(target.path)[0][0], forge.tensor_spans(target.path)[-1][1]
    with forge.patched(target.path / "weights.safetensors") as file, forge.patched(target.path / "manifest.json"):
        for place in range(8 * begin, 8 * end, 3):
            byte = os.pread(file, 1, place // 8)[0]
            os.pwrite(file, bytes([byte ^ 1 << place % 8]), place // 8)
            forge.fix_digests(target.path)
            try:
                found = target.read(allow_unsigned=True).program.tensors
            except IntegrityError:
                refused += 1
            else:
                assert {name: (tensor.dtype, tensor.shape) for name, tensor in found.items()} == wanted
            os.pwrite(file, bytes([byte]), place // 8)
    assert refused > 100


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_storage_parameters_of_a_strangers_choice_are_refused(masters: dict[str, Victim], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = masters["packed bare"].at(Path(folder) / "m")
        shutil.copytree(masters["packed bare"].path, target.path)
        header, graph = forge.load_header(target.path)
        tensor = data.draw(st.sampled_from(header["tensors"]))
        before = decode(encode(tensor), where="tensor")
        numbers = st.sampled_from([-1, 0, 1, 2, 7, 8, 9, 16, 32, 255, 256, 2**31, 2**53 - 1])
        tensor["form"] = data.draw(st.sampled_from(["raw", "codes", "multiples", "planes", "sparse", "zstd", "", "os"]))
        for name in data.draw(
            st.lists(st.sampled_from([*tensor["parameters"], "values", "group", "more"]), max_size=3)
        ):
            tensor["parameters"][name] = data.draw(numbers)
        tensor["dtype"] = data.draw(st.sampled_from(["I8", "U8", "F32", "I64", "I4", "BOOL", "X"]))
        tensor["shape"] = data.draw(
            st.sampled_from([[], [0], [0, 2**40], [16, 32], [32, 16], [512], [2**20, 2**20], [512, 0]])
        )
        forge.store_header(target.path, header, graph)
        if tensor == before:
            return
        try:
            found = target.read(allow_unsigned=True).program.tensors[tensor["name"]]
        except IntegrityError:
            return
        assert list(found.shape) == tensor["shape"]  # 512 codes of another type or shape are a tensor too


def flip_every_bit(target: Victim, name: str, *, allow_unsigned: bool = False) -> None:
    data = (target.path / name).read_bytes()
    with forge.patched(target.path / name) as file:
        for place in range(8 * len(data)):
            byte = data[place // 8]
            os.pwrite(file, bytes([byte ^ 1 << place % 8]), place // 8)
            with pytest.raises(REFUSED):
                target.read(allow_unsigned=allow_unsigned)
            os.pwrite(file, bytes([byte]), place // 8)


@pytest.mark.parametrize("name", SEALED_FILES)
def test_every_truncation_is_refused(victim: Copy, name: str) -> None:
    target = victim("tiny")
    size = (target.path / name).stat().st_size
    with forge.patched(target.path / name) as file:
        for end in reversed(range(size)):
            os.ftruncate(file, end)
            with pytest.raises(REFUSED):
                target.read()


@pytest.mark.parametrize("name", SEALED_FILES)
@pytest.mark.parametrize("tail", [b"\0", b"\n", b" ", b"}", b"\0" * 4096])
def test_every_extension_is_refused(victim: Copy, name: str, tail: bytes) -> None:
    target = victim("tiny")
    with (target.path / name).open("ab") as file:
        file.write(tail)
    with pytest.raises(REFUSED):
        target.read()


@pytest.mark.parametrize("name", SEALED_FILES)
def test_a_missing_file_is_refused(victim: Copy, name: str) -> None:
    target = victim("tiny")
    (target.path / name).unlink()
    with pytest.raises(AccessError if name == "model.sig" else IntegrityError):
        target.read()


@pytest.mark.parametrize("name", ["extra", "header.bin", ".hidden", "weights.safetensors.bak", "\x1b[31m", "café"])
def test_an_extra_file_is_refused(victim: Copy, name: str) -> None:
    target = victim("tiny")
    (target.path / name).write_bytes(b"")
    for act in (target.read, lambda: seal.inspect(target.path)):
        with pytest.raises(IntegrityError, match=r"stray|does not belong") as caught:
            act()
        assert str(caught.value).isascii()
        assert "\x1b" not in str(caught.value)


def replace_by_link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def replace_by_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "replace",
    [replace_by_link, replace_by_dangling_link, replace_by_fifo, replace_by_directory, replace_by_device],
)
@pytest.mark.parametrize("name", SEALED_FILES)
def test_what_is_no_regular_file_is_refused(victim: Copy, name: str, replace: Callable[[Path], None]) -> None:
    target = victim("tiny")
    replace(target.path / name)
    with pytest.raises(IntegrityError, match="is not a regular file"):
        target.read()
    with pytest.raises(IntegrityError, match="is not a regular file"):
        seal.verify(target.path, signers=[target.signer.verifying_key])


@pytest.mark.parametrize("name", SEALED_FILES)
def test_files_of_another_artifact_of_the_same_owner_are_refused(victim: Copy, name: str) -> None:
    target, sibling = victim("tiny"), victim("sibling")
    shutil.copy(sibling.path / name, target.path / name)
    with pytest.raises(IntegrityError):
        target.read()


def test_a_changed_list_of_recipients_is_refused(victim: Copy) -> None:
    """Dropped, added, swapped, renamed: who has no key cannot change who may open, as anyone who opens it finds."""
    target = victim("tiny")
    path = target.path / "keys.json"
    others = [x25519.generate() for _ in range(2)]
    seal.add_recipients(target.path, [pair.recipient for pair in others], identities=[target.owner.identity])
    file = decode(path.read_bytes(), where="keys")
    first, second, third = file["recipients"]
    stranger = {**third, "id": "0" * 32}
    for changed in (
        [first, second],
        [first],
        [second, first, third],
        [*file["recipients"], stranger],
        [first, second, stranger],
        [first, second, {**third, "label": "the owner"}],
        [first, second, {**third, "kind": "ssh"}],
        [first, {**second, "wrapped": third["wrapped"]}, third],
    ):
        path.write_bytes(encode({**file, "recipients": changed}))
        with pytest.raises(IntegrityError, match="changed by someone who does not have the key"):
            target.read()


def test_keys_of_another_artifact_are_refused_as_such(victim: Copy) -> None:
    target, sibling = victim("tiny"), victim("sibling")
    shutil.copy(sibling.path / "keys.json", target.path / "keys.json")
    with pytest.raises(IntegrityError, match="holds the key of another artifact"):
        target.read()


def test_a_plain_artifact_in_place_of_a_sealed_one_is_refused(victim: Copy) -> None:
    target, bare = victim("tiny"), victim("bare")
    signature = (target.path / "model.sig").read_bytes()
    shutil.rmtree(target.path)
    shutil.copytree(bare.path, target.path)
    with pytest.raises(AccessError, match="artifact is not signed"):
        target.read()
    (target.path / "model.sig").write_bytes(signature)
    with pytest.raises(IntegrityError, match=r"header\.bin is not covered by the signature"):
        target.read()


def test_sealed_files_under_a_plain_manifest_are_refused(victim: Copy) -> None:
    target, bare = victim("unsigned"), victim("bare")
    shutil.copy(bare.path / "manifest.json", target.path / "manifest.json")
    with pytest.raises(IntegrityError, match="another suite than the files"):
        target.read(allow_unsigned=True)


@pytest.mark.parametrize("signed", [True, False])
def test_swapped_tensors_are_refused(victim: Copy, signed: bool) -> None:
    target = victim("large")
    path = target.path / "weights.safetensors"
    data = path.read_bytes()
    (start, middle), (_, end) = forge.tensor_spans(target.path)
    path.write_bytes(data[:start] + data[middle:end] + data[start:middle])
    refuse(target, signed=signed)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("one", "other"), [(0, 1), (3, 139), (63, 64)])
def test_reordered_chunks_are_refused(victim: Copy, signed: bool, one: int, other: int) -> None:
    target = victim("large")
    path = target.path / "weights.safetensors"
    data = bytearray(path.read_bytes())
    begin = forge.tensor_spans(target.path)[0][0] + PREFIX_BYTES
    first = slice(begin + one * WIRE_CHUNK_BYTES, begin + (one + 1) * WIRE_CHUNK_BYTES)
    second = slice(begin + other * WIRE_CHUNK_BYTES, begin + (other + 1) * WIRE_CHUNK_BYTES)
    data[first], data[second] = data[second], data[first]
    path.write_bytes(data)
    refuse(target, signed=signed)


@pytest.mark.parametrize(("name", "signed"), [("large", True), ("large", False), ("large plain", True)])
def test_a_flipped_bit_anywhere_in_large_weights_is_refused(victim: Copy, name: str, signed: bool) -> None:
    target = victim(name)
    size = (target.path / "weights.safetensors").stat().st_size
    data = (target.path / "weights.safetensors").read_bytes()
    for place in range(0, size, size // 7):
        damaged = bytearray(data)
        damaged[place] ^= 4
        (target.path / "weights.safetensors").write_bytes(damaged)
        refuse(target, signed=signed)


def refuse(target: Victim, *, signed: bool) -> None:
    """The change is refused; when not `signed`, the vandal has made every digest fit and no signature is asked for."""
    if not signed:
        forge.fix_digests(target.path)
        (target.path / "model.sig").unlink(missing_ok=True)
    with pytest.raises(IntegrityError):
        target.read(allow_unsigned=not signed)


def test_what_changes_while_it_is_read_gains_nothing(victim: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    target = victim("large")
    genuine = target.read().program.tensors
    path = target.path / "weights.safetensors"
    digest = weights.blake3

    def damage_after_digest(data: memoryview) -> str:
        found = digest(data)
        with path.open("r+b") as file:  # the bytes just accepted, and every other, are now zero on disk
            file.seek(4096)
            file.write(bytes(2 * CHUNK_BYTES))
        return found

    monkeypatch.setattr(weights, "blake3", damage_after_digest)
    try:
        found = target.read().program.tensors
    except IntegrityError:
        return
    assert all((found[name] == genuine[name]).all() for name in genuine)


FILES = st.sampled_from(SEALED_FILES)


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw a change: overwrite, insert, delete, repeat or swap stretches."""
    at, length = draw(st.floats(0, 1)), draw(st.integers(1, 40))
    blob = draw(st.binary(min_size=1, max_size=40))
    kind = draw(st.sampled_from(["overwrite", "insert", "delete", "repeat", "reverse", "zero"]))

    def change(data: bytes) -> bytes:
        start = int(at * (len(data) - 1))
        head, body, tail = data[:start], data[start : start + length], data[start + length :]
        return (
            head
            + {
                "overwrite": blob[: len(body)] + body[len(blob) :],
                "insert": blob + body,
                "delete": b"",
                "repeat": body + body,
                "reverse": body[::-1],
                "zero": bytes(len(body)),
            }[kind]
            + tail
        )

    return change


@given(name=FILES, change=mutations())
@settings(max_examples=300, deadline=None)
def test_seal_mutate_must_fail(masters: dict[str, Victim], name: str, change: Callable[[bytes], bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = masters["tiny"].at(Path(folder) / "m")
        shutil.copytree(masters["tiny"].path, target.path)
        before = (target.path / name).read_bytes()
        after = change(before)
        (target.path / name).write_bytes(after)
        if after == before:
            assert target.read().card == {"name": "tiny"}
        else:
            with pytest.raises(REFUSED):
                target.read()
