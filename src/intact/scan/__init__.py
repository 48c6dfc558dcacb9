"""Which files carry code, and which are safe to read: an allow-list of formats, by content and not by name."""

from intact.scan.examining import examine
from intact.scan.findings import FileReport, Finding, Report
from intact.scan.folder import scan
from intact.scan.scanners import SCANNERS, ask

__all__ = ["SCANNERS", "FileReport", "Finding", "Report", "ask", "examine", "scan"]
