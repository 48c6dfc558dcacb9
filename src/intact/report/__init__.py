"""The build report: values in, one self-contained HTML file or JSON out."""

from intact.report.data import (
    Artifact,
    Engine,
    KeptFloat,
    Latency,
    Layer,
    ReportData,
    Reproduction,
    Sizes,
    Span,
    spanning,
    to_json,
)
from intact.report.from_build import tell, write
from intact.report.render import render

__all__ = [
    "Artifact",
    "Engine",
    "KeptFloat",
    "Latency",
    "Layer",
    "ReportData",
    "Reproduction",
    "Sizes",
    "Span",
    "render",
    "spanning",
    "tell",
    "to_json",
    "write",
]
