"""Logits that are linear in a few parameters, fitted by Newton's method.

Temperature, vector scaling and the stacking of models are this one problem with different
designs: it is convex, has at most a few dozen parameters and needs no library.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

MOST_STEPS = 100
SMALL = 1e-8
"""A step whose largest change is below this ends the search."""

ROUNDING = 1e-12
"""Share by which a loss may seem worse by its last bits alone."""


def fit_logit(design: Matrix, labels: Labels, prior: Matrix, ridge: float) -> Matrix:
    """Return the parameters that make the labels most probable.

    The logit of label ``k`` for row ``n`` is ``design[n, k] @ parameters``.

    Parameters
    ----------
    design
        Rows x labels x parameters.
    labels
        Which label is right in each row.
    prior
        Parameters that are kept to where the rows say little.
    ridge
        Strength of that pull, in rows: above 0.

    Returns
    -------
    Matrix
        As many as `prior` has.
    """
    parameters = prior.astype(np.float64).copy()
    for _ in range(MOST_STEPS):
        slope, curvature = _derivatives(design, labels, parameters)
        slope = slope + ridge * (parameters - prior)
        curvature = curvature + ridge * np.eye(len(prior))
        step = np.linalg.solve(curvature, slope).astype(np.float64)
        parameters = parameters - _halved(design, labels, prior, ridge, parameters, step)
        if np.abs(step).max() < SMALL:
            break
    return parameters


def _halved(
    design: Matrix, labels: Labels, prior: Matrix, ridge: float, parameters: Matrix, step: Matrix
) -> Matrix:
    """Return the step, halved until it makes the loss no worse: far off, Newton's is too long."""

    def loss(at: Matrix) -> float:
        logits = design @ at
        most = logits.max(axis=1)
        total = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
        right = logits[np.arange(len(labels)), labels]
        return float((total - right).sum() + 0.5 * ridge * ((at - prior) ** 2).sum())

    before = loss(parameters) * (1.0 + ROUNDING)
    for _ in range(40):
        if loss(parameters - step) <= before:
            return step
        step = step / 2
    return np.zeros_like(step)


def _derivatives(design: Matrix, labels: Labels, parameters: Matrix) -> tuple[Matrix, Matrix]:
    logits = design @ parameters
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    said = powers / powers.sum(axis=1, keepdims=True)
    mean = np.einsum("nk,nkp->np", said, design)
    slope = (mean - design[np.arange(len(labels)), labels]).sum(axis=0)
    curvature = np.einsum("nk,nkp,nkq->pq", said, design, design) - mean.T @ mean
    return slope, curvature
