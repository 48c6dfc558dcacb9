"""Where the examples find the real data: the folder that INTACT_DATA names."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(os.environ.get("INTACT_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
CIFAR_MEAN, CIFAR_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def folder(name: str) -> Path:
    """Return the folder of one data set, or end the program saying what is missing."""
    path = (ROOT / name).resolve()
    if not path.is_dir():
        sys.exit(
            f"error: real data '{name}' are not at INTACT_DATA\nhint: set INTACT_DATA to the folder that holds them"
        )
    return path


def cifar10_images(rows: int = 4000) -> np.ndarray:
    """Lossless training images for calibration, normalised, float32, shape (rows, 3, 32, 32)."""
    source = folder("cifar10_lossless_train4k")
    sheets = [np.asarray(Image.open(source / f"cifar10_batch_{index}.png")) for index in range(4)]
    return normalised(np.concatenate(sheets)[:rows].reshape(-1, 32, 32, 3))


def cifar10_test() -> tuple[np.ndarray, np.ndarray]:
    """All 10,000 JPEG test images, normalised, and their labels."""
    images, labels = [], []
    with tarfile.open(folder("cifar10_jpeg") / "test.tar.xz") as archive:
        members = sorted((member for member in archive if member.name.endswith(".jpg")), key=lambda member: member.name)
        classes = sorted({Path(member.name).parent.name for member in members})
        for member in members:
            file = archive.extractfile(member)
            assert file is not None
            images.append(np.asarray(Image.open(io.BytesIO(file.read()))))
            labels.append(classes.index(Path(member.name).parent.name))
    return normalised(np.stack(images)), np.asarray(labels)


def normalised(images: np.ndarray) -> np.ndarray:
    """Bytes, channels last, to the floats the CIFAR models were trained on, channels first."""
    scaled = (images / 255.0 - np.asarray(CIFAR_MEAN)) / np.asarray(CIFAR_STD)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)
