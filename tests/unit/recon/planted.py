"""Small forward models with known singular values."""

import numpy as np
import torch

from lensless.optics.operator import DenseModel


def model_with(singular_values, scene_shape, sensor_shape, seed=0, dtype=torch.float64) -> DenseModel:
    random = np.random.default_rng(seed)
    rank = len(singular_values)
    left, _ = np.linalg.qr(random.normal(size=(np.prod(sensor_shape), rank)))
    right, _ = np.linalg.qr(random.normal(size=(np.prod(scene_shape), rank)))
    return DenseModel(torch.tensor((left * singular_values) @ right.T, dtype=dtype), scene_shape, sensor_shape)


def draw(*shape, seed=0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))
