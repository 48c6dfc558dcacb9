"""What the server says of itself: a JSON object a line on standard error, never a payload, never a secret."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Final

LOGGERS: Final = ("intact", "uvicorn.error", "grpc")
FIELD: Final = "fields"
"""Attribute of a record with what belongs into the line besides its text."""


class Lines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELD, {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__  # its text may hold what a caller sent
            line["where"] = _where(record)
        return json.dumps(line)


def configure(level: int = logging.INFO) -> None:
    """Have the server's loggers write lines to standard error, and gRPC's own library nothing."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its lines are no JSON, and strangers can cause them
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level if name == "intact" else logging.ERROR)  # strangers can cause warnings


def _where(record: logging.LogRecord) -> list[str]:
    """Return the frames of an exception, without its values."""
    assert record.exc_info is not None  # the caller looked
    trace, frames = record.exc_info[2], []
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return frames
