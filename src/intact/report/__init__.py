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
from intact.report.from_build import tell, write, write_tuned
from intact.report.pareto import Mark, Pareto, pareto_of
from intact.report.render import render

__all__ = [
    "Artifact",
    "Engine",
    "KeptFloat",
    "Latency",
    "Layer",
    "Mark",
    "Pareto",
    "ReportData",
    "Reproduction",
    "Sizes",
    "Span",
    "pareto_of",
    "render",
    "spanning",
    "tell",
    "to_json",
    "write",
    "write_tuned",
]
