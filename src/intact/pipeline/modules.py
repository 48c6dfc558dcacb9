"""The two calls that people know from torch: a quantized module, and a batch spread over several workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from intact import engine
from intact.errors import UsageError
from intact.pipeline.build import Built, build
from intact.pipeline.model import Model
from intact.pipeline.predict import Predictor
from intact.pipeline.spec import Spec, as_arrays

if TYPE_CHECKING:
    import torch
