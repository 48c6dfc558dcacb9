"""The distance of a layer's features from where calibration saw those of the predicted label.

A row of features f, brought to length 1, with the mean m of its label has the score

    sum over directions i of z_i^2 / v_i  +  |d - D z|^2 / w,      d = f - m,  z = D' d

where the columns of D are the few directions in which calibration varied most, v its variances along these, and w that
in every other direction: a covariance of full rank, shrunk as Ledoit and Wolf say.

Source: Lee et al. 2018, arXiv:1807.03888, section 2.1 (one covariance for all labels); Ledoit and Wolf 2004
(shrinkage); Tipping and Bishop 1999 (few directions and the rest alike); Mueller and Hein 2025, arXiv:2505.18032
(length 1).
"""

from __future__ import annotations

import numpy as np

from intact.guard import covariance
from intact.guard.check import Array, Check
from intact.guard.rows import Rows


def measure(rows: Rows) -> Array | None:
    """Return the features of every row, and last the label that was predicted for it, or 0 where there are none."""
    features, logits = rows.embedding, rows.logits
    if features is None:
        return None
    found = np.empty((rows.count, features.shape[1] + 1), np.float32)
    found[:, :-1] = features
    found[:, -1] = 0 if logits is None else logits.argmax(axis=1)
    return found


CHECK = Check(
    name="mahalanobis",
    place="output",
    mode="flag",
    measure=measure,
    learn=covariance.learn,
    bind=covariance.bind,
)
