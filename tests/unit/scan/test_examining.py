"""What is let through and what is not, file by file and folder by folder."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.errors import UsageError
from intact.scan import FileReport, examine, scan
from intact.scan.archives import MAX_DIRECTORY
from intact.scan.blob import MAX_READ, Blob, of_bytes
from support.malice import HONEST, SAMPLES, array, marked, outside_onnx, pickled, safetensors, zipped
from support.nets import mlp

NAMES = ("model.onnx", "model.safetensors", "data.npz", "README.md", "weights", "x.json")


def look(data: bytes, name: str = "file") -> FileReport:
    return examine(of_bytes(data), name, None)


def words(report: FileReport) -> str:
    return "\n".join(f"{finding.inside} {finding.told}" for finding in report.findings)


@pytest.mark.parametrize("case", SAMPLES)
def test_what_carries_code_is_refused_under_any_name(case: str) -> None:
    make, word = SAMPLES[case]
    data = make()
    for name in NAMES:
        found = look(data, name)
        assert not found.clean and word in words(found), words(found)


@pytest.mark.parametrize("case", HONEST)
def test_what_is_honest_is_let_through_under_any_name(case: str) -> None:
    make, wanted = HONEST[case]
    for name in (*NAMES, "x.pkl", "model.pt"):
        assert look(make(), name) == FileReport(path=name, format=wanted)


@pytest.mark.parametrize("name", ["modeling.py", "run.SH", "lib.so", "x.ipynb"])
def test_a_name_of_source_code_is_refused_whatever_it_holds(name: str) -> None:
    assert "code, by its name" in words(look(b"x = 1\n", name))


def test_what_is_in_an_archive_is_told_where_it_is() -> None:
    found = look(zipped({"a.zip": zipped({"b/c.pkl": pickled()})}))
    assert [each.inside for each in found.findings if each.kind == "pickle"] == ["a.zip/b/c.pkl"]
    assert any("system" in each.told for each in found.findings)


def test_archives_that_nobody_should_unpack() -> None:
    npy = array(np.ones(2))
    for name in ("../a.npy", "/a.npy", "c:\\a.npy", "a/../../b.npy"):
        assert "leads outside" in words(look(zipped({name: npy})))
    link = zipfile.ZipInfo("a.npy")
    link.external_attr = 0o120777 << 16
    assert "a symbolic link" in words(look(_zip([(link, b"/etc/passwd")])))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = _zip([(zipfile.ZipInfo("a.npy"), npy), (zipfile.ZipInfo("a.npy"), npy)])
    assert "two members have this name" in words(look(twice))
    encrypted = bytearray(zipped({"a.npy": npy}))
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(sign) + place] |= 1
    assert "it is encrypted" in words(look(bytes(encrypted)))
    assert not look(zipped({"a.npy": npy, "notes.txt": b"hi"})).clean  # an archive, but no .npz
    assert not look(zipped({})).clean


def test_a_bomb_is_told_by_its_directory() -> None:
    bomb = bytearray(zipped({"a.npy": b"\0" * 10**6}, zipfile.ZIP_DEFLATED))
    place = bomb.index(b"PK\x01\x02")
    struct.pack_into("<I", bomb, place + 24, 2**32 - 2)
    found = look(bytes(bomb))
    assert "a bomb: " in words(found)


def test_no_archive_makes_a_scan_work_for_long() -> None:
    inner = zipped({f"m{n}": b"\0" * 10**7 for n in range(100)}, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    found = look(zipped({f"z{n}": inner for n in range(5)}, zipfile.ZIP_DEFLATED))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not found.clean and peak < 2**28
    deep = pickled()
    for _ in range(12):
        deep = zipped({"a": deep})
    assert "deep" in words(look(deep))


@pytest.mark.parametrize("comment", [b"", b"a comment of some length"])
def test_every_record_that_may_end_an_archive_is_looked_at(comment: bytes) -> None:
    npy = array(np.ones(2))
    harmful = marked(zipped({"m/data.pkl": pickled()}))
    assert zipfile.is_zipfile(io.BytesIO(harmful))
    found = look(safetensors() + harmful[:-2] + len(comment).to_bytes(2, "little") + comment)
    assert not found.clean and {each.kind for each in found.findings} >= {"archive"}
    ended = zipped({"a.npy": npy})
    twice = harmful[:-2] + len(ended).to_bytes(2, "little") + ended  # one archive in the comment of the other
    assert "more than one directory" in words(look(twice))
    by_chance = array(np.frombuffer(b"PK\5\6" * 64, np.uint8))
    assert look(by_chance).clean and look(zipped({"a.npy": by_chance})).clean


def test_a_damaged_archive_behind_something_else_is_refused() -> None:
    archive = bytearray(zipped({"m/data.pkl": pickled()}))
    struct.pack_into("<H", archive, archive.index(b"PK\1\2") + 6, 99)  # of a version that zipfile does not read
    assert "damaged" in words(look(safetensors() + bytes(archive)))


def test_a_directory_of_any_length_is_not_believed() -> None:
    data = bytearray(zipped({"a.npy": array(np.ones(2))}))
    struct.pack_into("<I", data, data.rindex(b"PK\x05\x06") + 12, MAX_DIRECTORY + 1)
    assert not look(bytes(data)).clean


def test_archives_of_zip64_are_known_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)  # more members than the old record counts
    npy = array(np.ones(2))
    whole = zipped({"a.npy": npy})
    assert b"PK\x06\x06" in whole and look(whole).format == "npz" and look(whole).clean
    assert "behind something else" in words(look(npy + whole))
    assert "pickle" in words(look(zipped({"a": pickled()})))
    large = bytearray(whole)
    struct.pack_into("<Q", large, large.index(b"PK\x06\x06") + 40, MAX_DIRECTORY + 1)
    assert not look(bytes(large)).clean


@pytest.mark.parametrize(
    ("index", "data"),
    [
        (b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}', b"\0" * 9),
        (b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[1,8]}}', b"\0" * 8),
        (b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","data_offsets":[2,8]}}', b"\0" * 8),
        (b'{"a":{"dtype":"U8","data_offsets":[0,-8]}}', b""),
        (b'{"a":{"dtype":"U8","data_offsets":[true,8]}}', b"\0" * 8),
        (b'{"a":3}', b""),
        (b"{" * 5000, b""),
    ],
)
def test_safetensors_whose_bytes_are_not_all_accounted_for(index: bytes, data: bytes) -> None:
    found = look(safetensors(index, data))
    assert found.format == "safetensors" and not found.clean


def test_arrays_that_do_not_fit_their_header() -> None:
    whole = array(np.ones(4))
    for data in (whole + b"x", whole[:-1], whole[:9], whole[:40], b"\x93NUMPY\x07\0" + whole[8:]):
        found = look(data)
        assert found.format == "npy" and not found.clean
    for text in (b"{'descr': '<f8', 'shape': (-1,)}", b"(" * 9000, b"{'descr': ['O'], 'shape': ()}", b"open('x')"):
        assert not look(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text).clean


def test_a_constant_by_chance_is_no_polyglot() -> None:
    """An index of 11,912 bytes makes a safetensors file begin as the pickle of True does: it runs nothing."""
    index = b'{"__metadata__":{"a":"' + b"x" * (0x2E88 - 25) + b'"}}'
    assert look(safetensors(index, b"")).clean


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_no_bytes_make_a_scan_fail(data: bytes) -> None:
    look(data)


@given(st.sampled_from([*SAMPLES, *HONEST]), st.data())
@settings(max_examples=300, deadline=None)
def test_no_damage_makes_a_scan_fail(case: str, drawn: st.DataObject) -> None:
    data = bytearray({**SAMPLES, **HONEST}[case][0]())
    for _ in range(drawn.draw(st.integers(1, 4))):
        if data:
            data[drawn.draw(st.integers(0, len(data) - 1))] = drawn.draw(st.integers(0, 255))
    look(bytes(data[: drawn.draw(st.integers(0, len(data)))] if drawn.draw(st.booleans()) else data))


@given(st.sampled_from(list(HONEST)), st.binary(max_size=30), st.integers(0, 5))
@settings(deadline=None)
def test_nothing_before_or_after_makes_a_harmful_pickle_clean(case: str, more: bytes, protocol: int) -> None:
    assert not look(pickled(protocol) + more + HONEST[case][0]()).clean
    assert not look(pickled(protocol) + more).clean


# folders


def test_a_folder_is_looked_through(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "model.onnx").write_bytes(mlp())
    (tmp_path / "README.md").write_text("hi\n")
    assert scan(tmp_path).clean
    (tmp_path / "a" / "hidden").write_bytes(pickled())
    found = scan(tmp_path)
    assert [file.path for file in found.refused] == [str(tmp_path / "a" / "hidden")]
    assert not found.clean and len(found.files) == 3 and not found.to_json()["clean"]


def test_links_and_what_is_no_file_are_refused_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(pickled())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.onnx").symlink_to(tmp_path / "outside")
    (folder / "self").symlink_to(folder)
    os.mkfifo(folder / "fifo")
    found = scan(folder)
    assert {Path(file.path).name for file in found.refused} == {"link.onnx", "self", "fifo"}
    assert {finding.kind for file in found.files for finding in file.findings} == {"link"}
    assert scan(folder / "link.onnx").files[0].findings[0].kind == "pickle"  # named itself, it is followed
    with pytest.raises(UsageError, match="not a regular file"):
        scan(folder / "fifo")


def test_there_must_be_something(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is nothing"):
        scan(tmp_path / "none")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    with pytest.raises(UsageError, match="there is nothing"):
        scan(tmp_path / "dangling")


def test_external_data_of_a_model_are_let_through_beside_it_only(tmp_path: Path) -> None:
    proto = onnx.load_from_string(mlp())
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    found = scan(tmp_path)
    assert found.clean and {file.format for file in found.files} == {"ONNX", "data of an ONNX model"}
    (tmp_path / "w.bin").write_bytes(pickled())
    assert [finding.kind for finding in scan(tmp_path).refused[0].findings] == ["pickle"]
    (tmp_path / "w.bin").rename(tmp_path / "elsewhere.bin")
    assert "which is not there" in words(scan(tmp_path / "m.onnx").files[0])
    (tmp_path / "w.bin").symlink_to(tmp_path / "elsewhere.bin")
    assert "outside the model's folder" in words(scan(tmp_path / "m.onnx").files[0])


def test_data_of_a_model_that_are_too_much_to_look_at_are_refused(tmp_path: Path) -> None:
    proto = onnx.load_from_string(mlp())
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with (tmp_path / "w.bin").open("wb") as file:
        file.write(b"V")
        file.seek(MAX_READ + 2**21)
        file.write(b"\n0cos\nsystem\n(S'true'\ntR.")
    (found,) = scan(tmp_path).refused
    assert [finding.kind for finding in found.findings] == ["structure"]


@pytest.mark.parametrize("location", ["", "..", "a/../../b", "/etc/passwd", "a\\b", "x\0y", "sub"])
def test_references_that_lead_nowhere_good(location: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "m.onnx").write_bytes(outside_onnx(location))
    (found,) = scan(tmp_path / "m.onnx").files
    assert [finding.kind for finding in found.findings] == ["reference"]


def test_a_second_reference_under_one_name_is_seen_too(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 512)
    proto = onnx.load_from_string(outside_onnx("../x"))
    tensor = proto.graph.initializer.add()
    tensor.CopyFrom(proto.graph.initializer[0])
    tensor.external_data[0].value = "w.bin"
    both = onnx.load_from_string(outside_onnx("w.bin"))
    both.graph.initializer[0].external_data.add(key="location", value="../x")
    for model in (proto, both):
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        assert "'../x', outside the model's folder" in words(scan(tmp_path / "m.onnx").files[0])


def test_operators_of_the_models_own_functions_are_known() -> None:
    proto = onnx.load_from_string(mlp())
    proto.functions.append(
        onnx.helper.make_function(
            *("own", "Double", ["a"], ["b"], [onnx.helper.make_node("Add", ["a", "a"], ["b"])]),
            [onnx.helper.make_opsetid("", 21)],
        )
    )
    proto.opset_import.append(onnx.helper.make_opsetid("own", 1))
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Double", "own"
    assert look(proto.SerializeToString()).clean
    proto.graph.node[1].op_type = "Other"
    assert "'Other' comes from the domain 'own', which was not named" in words(look(proto.SerializeToString()))


def with_tensor(data: bytes) -> bytes:
    """A model with one tensor more, as these bytes."""
    graph = b"\x2a" + _varint(len(data)) + data
    return mlp() + b"\x3a" + _varint(len(graph)) + graph


@pytest.mark.parametrize("tag", [b"\xea\x80\x80\x80\x10", b"\xea\x80\x80\x80\x80\x00"])
def test_tags_of_which_readers_drop_bits_are_refused(tag: bytes) -> None:
    tensor = onnx.TensorProto(dims=[1], data_type=1, name="w")
    tensor.external_data.add(key="location", value="../../etc/passwd")
    whole = tensor.SerializeToString()
    assert whole.count(b"\x6a") == 1 and "outside the model's folder" in words(look(with_tensor(whole)))
    assert "a graph that is cut off" in words(look(with_tensor(whole.replace(b"\x6a", tag))))


@pytest.mark.parametrize("one", [1, 2**32 + 1, 2**63 + 1, 2**64 + 1])
def test_numbers_have_as_many_bits_as_protobuf_reads(one: int) -> None:
    tensor = onnx.TensorProto(dims=[1], data_type=1, name="w").SerializeToString() + b"\x70" + _varint(one)
    assert onnx.load_from_string(with_tensor(tensor)).graph.initializer[-1].data_location == onnx.TensorProto.EXTERNAL
    assert "outside the model's folder" in words(look(with_tensor(tensor)))


def test_small_fields_without_end_cost_little() -> None:
    reads = []
    node = b"\x22\x00" * 50_000  # the name of its operator, again and again
    nodes = b"\x0a" + _varint(len(node)) + node
    data = mlp() + b"\x3a" + _varint(len(nodes)) + nodes

    def fetch(offset: int, count: int) -> bytes:
        reads.append(count)
        return data[offset : offset + count]

    assert examine(Blob(size=len(data), fetch=fetch), "m.onnx", None).format == "ONNX"
    assert len(reads) < 1000
    nodes = b"\x0a\x00" * 600_000
    assert "too long" in words(look(mlp() + b"\x3a" + _varint(len(nodes)) + nodes))


def test_large_weights_cost_neither_time_nor_memory(tmp_path: Path) -> None:
    proto = onnx.load_from_string(mlp())
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(2**25, np.int8), "large"))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    del proto
    tracemalloc.start()
    assert scan(tmp_path / "m.onnx").clean
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def _varint(value: int) -> bytes:
    low = value & 0x7F
    return bytes([low | 0x80]) + _varint(value >> 7) if value > low else bytes([low])


def _zip(members: list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for info, content in members:
            file.writestr(info, content)
    return out.getvalue()
