"""What a scan found, as values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

OWN: Final = "intact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One reason to refuse a file.

    Args:
        kind: In a word: "pickle", "code", "archive", "structure", "reference", "link" or "unknown".
        told: What was found, and what it would do.
        inside: Which part of the file it is in, such as a member of an archive; "" for the file itself.
        found_by: Who found it: "intact", or another scanner.
    """

    kind: str
    told: str
    inside: str = ""
    found_by: str = OWN


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What a file is.

    Args:
        path: Where it lies, as the caller would name it.
        format: What it is by its content, such as "ONNX"; "unknown" where it is nothing we know.
        findings: Why it is refused; none where it is on the allow-list and carries no code.
        uses: Other files that it refers to, by path from its own folder.
    """

    path: str
    format: str
    findings: tuple[Finding, ...] = ()
    uses: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a scan of a file or a folder found, by path."""

    files: tuple[FileReport, ...]

    @property
    def clean(self) -> bool:
        """Whether every file is on the allow-list and carries no code."""
        return all(file.clean for file in self.files)

    @property
    def refused(self) -> tuple[FileReport, ...]:
        """The files that are not clean."""
        return tuple(file for file in self.files if not file.clean)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {"clean": self.clean, "files": [asdict(file) | {"clean": file.clean} for file in self.files]}
