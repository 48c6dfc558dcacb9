"""What one file is, and whether it is let through."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from zipfile import ZipInfo

from intact.scan import pickles, refused
from intact.scan.archives import Archive, Budget, member, open_archive
from intact.scan.blob import Blob, OutOfReach
from intact.scan.findings import FileReport, Finding
from intact.scan.formats import formats
from intact.scan.formats import npy as arrays

MAX_DEPTH: Final = 4
"""Archives within archives that are looked into."""
MAX_FINDINGS: Final = 50
TORCHSCRIPT: Final = "/code/__torch__"
SOURCES: Final = {
    ".py": "Python",
    ".pyc": "Python",
    ".pyd": "native",
    ".ipynb": "notebook",
    ".so": "native",
    ".dll": "native",
    ".dylib": "native",
    ".sh": "shell",
    ".bat": "shell",
    ".ps1": "shell",
    ".js": "JavaScript",
    ".lua": "Lua",
    ".r": "R",
    ".rb": "Ruby",
    ".pl": "Perl",
}
"""Names whose owner is code by custom, though its text is as harmless as any. A name never lets anything through."""


def examine(blob: Blob, path: str, folder: Path | None) -> FileReport:
    """Return what the file `path` is.

    Args:
        blob: Its bytes.
        path: What it is called.
        folder: Where it lies; what it refers to must lie there too.
    """
    language = SOURCES.get(Path(path).suffix.lower())
    named = [] if language is None else [Finding(kind="code", told=f"{language} code, by its name")]
    try:
        found = _examine(blob, path, folder, Budget(), 0)
    except OutOfReach:
        told = "more work to look into than a scan does"
        found = FileReport(path=path, format="unknown", findings=(Finding(kind="structure", told=told),))
    findings = tuple(dict.fromkeys((*named, *found.findings)))[:MAX_FINDINGS]
    return FileReport(path=path, format=found.format, findings=findings, uses=found.uses)


def _examine(blob: Blob, path: str, folder: Path | None, budget: Budget, depth: int) -> FileReport:
    walk = pickles.walk(blob)
    pickled = [Finding(kind="pickle", told=walk.tell())] if walk.loads else []
    # of a member the end is not read: the archive around it is refused in any case, unless all it holds are arrays
    archive = open_archive(blob) if depth == 0 or blob.read(0, 2) == b"PK" else None
    hidden = refused.hdf5(blob, blob.size) if depth == 0 else []
    if archive is not None:
        name, inside = _look_inside(archive, budget, depth)
        dressed = blob.read(0, 2) != b"PK"
        if dressed:
            told = "a zip archive behind something else: readers differ in what they take it for"
            inside.insert(0, Finding(kind="archive", told=told))
        return FileReport(path=path, format="unknown" if dressed else name, findings=(*pickled, *hidden, *inside))
    if hidden:
        return FileReport(path=path, format="HDF5", findings=(*pickled, *hidden))
    for each in formats():
        if each.recognise(blob):
            examined = each.examine(blob, folder)
            if pickled and not (each.text or walk.runs or walk.beyond):
                pickled = []  # two or three bytes that happen to load as a constant
            findings = (*pickled, *examined.findings)
            return FileReport(path=path, format=each.name, findings=findings, uses=examined.uses)
    if pickled:
        return FileReport(path=path, format="pickle", findings=tuple(pickled))
    kind, why = refused.tell(blob)
    return FileReport(path=path, format=kind, findings=tuple(why))


def _look_inside(archive: Archive | Finding, budget: Budget, depth: int) -> tuple[str, list[Finding]]:
    """Return what an archive is, and why it is refused: all but .npz are."""
    if isinstance(archive, Finding):
        return "zip", [archive]
    found = list(archive.findings)
    kinds = set()
    with archive.file:
        for info in archive.members:
            if info.is_dir():
                kinds.add("folder")
                continue
            report = _member(archive, info, budget, depth)
            kinds.add(report.format)
            found += [_within(one, report.path) for one in report.findings if one.kind != "unknown"]
    if kinds == {arrays.FORMAT.name}:
        return "npz", found
    names = [f"/{info.filename}" for info in archive.members]
    if any(TORCHSCRIPT in name for name in names):
        found.append(Finding(kind="code", told="TorchScript: a program that torch.jit.load runs"))
    if any(name.endswith("/data.pkl") for name in names):
        told = "a PyTorch checkpoint, not a format to build from: export the model to ONNX, or save with safetensors"
        return "PyTorch", [*found, Finding(kind="archive", told=told)]
    told = "a zip archive that is no .npz: unpack it and scan the folder"
    return "zip", [*found, Finding(kind="archive", told=told)]


def _member(archive: Archive, info: ZipInfo, budget: Budget, depth: int) -> FileReport:
    name = ascii(info.filename)[1:-1][:120]
    if depth >= MAX_DEPTH:
        told = f"archives within archives, more than {MAX_DEPTH} deep"
        return FileReport(path=name, format="unknown", findings=(Finding(kind="archive", told=told),))
    try:
        return _examine(member(archive, info, budget), name, None, budget, depth + 1)
    except OutOfReach:
        told = "damaged, or more work to look into than a scan does"
        return FileReport(path=name, format="unknown", findings=(Finding(kind="archive", told=told),))


def _within(finding: Finding, name: str) -> Finding:
    inside = f"{name}/{finding.inside}" if finding.inside else name
    return Finding(kind=finding.kind, told=finding.told, inside=inside, found_by=finding.found_by)
