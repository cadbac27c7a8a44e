"""A step-by-step ray tracer of a glass rod in three dimensions, to hold the closed form against.

Nothing of it is taken from the code under test: Snell's law for vectors at the front face, the quadratic equation of
the cylinder, mirror reflection about the normal of the wall, again and again until the back face.
"""

import numpy as np


def trace(x0, y0, slope_x, slope_y, radius, length, index):
    """Exit points (x, y), number of reflections, and the largest |cosine| between ray and wall normal; float64."""
    position = np.stack([x0, y0, np.zeros_like(x0)], axis=-1).astype(float)
    ray = np.stack([slope_x, slope_y, np.ones_like(x0)], axis=-1).astype(float)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    ray = _refract(ray, np.array([0.0, 0.0, 1.0]), 1 / index)
    bounces, steepest = np.zeros(len(x0), int), np.zeros(len(x0))
    inside = np.arange(len(x0))
    while len(inside):
        p, d = position[inside], ray[inside]
        to_wall, to_face = _distance_to_cylinder(p, d, radius), (length - p[:, 2]) / d[:, 2]
        position[inside] = p + d * np.minimum(to_wall, to_face)[:, None]
        inside = inside[to_wall < to_face]
        normal = position[inside] * [1, 1, 0] / radius
        cosine = (ray[inside] * normal).sum(1)
        ray[inside] -= 2 * cosine[:, None] * normal
        bounces[inside] += 1
        steepest[inside] = np.maximum(steepest[inside], np.abs(cosine))
    return position[:, 0], position[:, 1], bounces, steepest


def _refract(ray, normal, ratio):
    cosine = ray @ normal
    refracted_cosine = np.sqrt(1 - ratio**2 * (1 - cosine**2))
    return ratio * ray + (refracted_cosine - ratio * cosine)[:, None] * normal


def _distance_to_cylinder(p, d, radius):
    """The larger root of |p + t d|^2 = radius^2 in the cross-section; infinity for a ray along the axis."""
    a = (d[:, :2] ** 2).sum(1)
    half_b = (p[:, :2] * d[:, :2]).sum(1)
    c = (p[:, :2] ** 2).sum(1) - radius**2
    with np.errstate(divide="ignore", invalid="ignore"):
        root = (-half_b + np.sqrt(np.maximum(half_b**2 - a * c, 0))) / a
    return np.where(a > 0, root, np.inf)


def matrix_by_brute_force(
    *, scene_shape, sensor_shape, diameter_mm, length_mm, distance_mm, fov_deg, index, numerical_aperture, cell_mm,
    rays, seed,
):  # fmt: skip
    """Light from every scene pixel to every cell, (rows, columns, scene rows, scene columns), by plain random rays.

    A ray carries cos^4 of its angle in air. It is lost where it meets the wall at an angle from the normal whose sine
    is below n_cladding / n_core.
    """
    random = np.random.default_rng(seed)
    radius = diameter_mm / 2
    pixel = 2 * distance_mm * np.tan(np.radians(fov_deg) / 2) / scene_shape[1]
    cladding_index = np.sqrt(index**2 - numerical_aperture**2)
    edges = [(np.arange(count + 1) - count / 2) * cell_mm for count in sensor_shape]
    matrix = np.zeros((*sensor_shape, *scene_shape))
    for row in range(scene_shape[0]):
        for column in range(scene_shape[1]):
            u = random.random((4, rays))
            source_x = (column + u[0] - scene_shape[1] / 2) * pixel
            source_y = (row + u[1] - scene_shape[0] / 2) * pixel
            x0 = radius * np.sqrt(u[2]) * np.cos(2 * np.pi * u[3])
            y0 = radius * np.sqrt(u[2]) * np.sin(2 * np.pi * u[3])
            slope_x, slope_y = (x0 - source_x) / distance_mm, (y0 - source_y) / distance_mm
            x, y, _, steepest = trace(x0, y0, slope_x, slope_y, radius, length_mm, index)
            sine_at_wall = np.sqrt(1 - steepest**2)
            weight = np.cos(np.arctan(np.hypot(slope_x, slope_y))) ** 4 * (sine_at_wall >= cladding_index / index)
            matrix[:, :, row, column] = np.histogram2d(y, x, bins=edges, weights=weight)[0] / rays
    return matrix
