"""Quantization-aware training: a compressed model as a torch module, a loop with a budget, and the way back.

`finetune` does it all; `prepare`, a loop of your own over the module, and `export` or `trained_draft` do it by hand.
Importing this package imports torch.
"""

from intact.training.finetune import Retrainer, finetune
from intact.training.loop import Batches, History, Told, Training, train
from intact.training.prepared import Exported, Prepared, export, prepare, trained_draft
from intact.training.rebuilding import Reconstruction
from intact.training.reconstruct import Rebuilt, Reconstructor, reconstruct
from intact.training.thinning import Slim, prune

__all__ = [
    "Batches",
    "Exported",
    "History",
    "Prepared",
    "Rebuilt",
    "Reconstruction",
    "Reconstructor",
    "Retrainer",
    "Slim",
    "Told",
    "Training",
    "export",
    "finetune",
    "prepare",
    "prune",
    "reconstruct",
    "train",
    "trained_draft",
]
