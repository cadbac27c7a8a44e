"""A step-by-step ray tracer of a glass rod in three dimensions, to hold the closed form against.

Nothing of it is taken from the code under test: Snell's law for vectors at the front face, the quadratic equation of
the cylinder, mirror reflection about the normal of the wall, again and again until the back face.
"""

import numpy as np


def trace(x0, y0, slope_x, slope_y, radius, length, index):
    """Exit points (x, y), number of reflections, and the largest |cosine| between ray and wall normal; float64."""
    position, _, bounces, steepest, _ = follow(x0, y0, slope_x, slope_y, radius, length, index)
    return position[:, 0], position[:, 1], bounces, steepest


def follow(x0, y0, slope_x, slope_y, radius, length, index):
    """The same with the ray in glass at the back face and the sum of squared cosines over all reflections."""
    position = np.stack([x0, y0, np.zeros_like(x0)], axis=-1).astype(float)
    ray = np.stack([slope_x, slope_y, np.ones_like(x0)], axis=-1).astype(float)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    ray = _refract(ray, np.array([0.0, 0.0, 1.0]), 1 / index)
    bounces, steepest, squares = np.zeros(len(x0), int), np.zeros(len(x0)), np.zeros(len(x0))
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
        squares[inside] += cosine**2
    return position, ray, bounces, steepest, squares


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
    rays, seed, wavelength_nm=550.0, fresnel=False, roughness_nm=0.0, emission_exponent=0.0, magnification=4.0,
    relay_numerical_aperture=None, pupil_distance_mm=None, tilt_deg=(0, 0), shift_mm=(0, 0), roll_deg=0.0,
    relay_shift_um=(0, 0), sensor_shift_um=(0, 0), sensor_tilt_deg=(0, 0), relay_tilt_deg=(0, 0), defocus_um=0.0,
):  # fmt: skip
    """Light from every scene pixel to every cell, (rows, columns, scene rows, scene columns), by plain random rays.

    Rays start at points of the display and end at points of the front face, both in the frame of the display: each
    carries the cosines of its angles to the display and to the face, and 1 / r^2 (relative to d^2). It is lost where it
    meets the wall at an angle from the normal whose sine is below n_cladding / n_core.
    """
    random = np.random.default_rng(seed)
    radius = diameter_mm / 2
    pixel = 2 * distance_mm * np.tan(np.radians(fov_deg) / 2) / scene_shape[1]
    cladding_index = np.sqrt(index**2 - numerical_aperture**2)
    edges = [(np.arange(count + 1) - count / 2) * cell_mm for count in sensor_shape]
    # Columns are the axes of the rod in the frame of the display: its own z points away from the scene.
    lean_x, lean_y = np.radians(tilt_deg)
    about_y = np.array([[np.cos(lean_x), 0, -np.sin(lean_x)], [0, 1, 0], [np.sin(lean_x), 0, np.cos(lean_x)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(lean_y), -np.sin(lean_y)], [0, np.sin(lean_y), np.cos(lean_y)]])
    to_rod = about_x @ about_y
    matrix = np.zeros((*sensor_shape, *scene_shape))
    for row in range(scene_shape[0]):
        for column in range(scene_shape[1]):
            u = random.random((4, rays))
            source = np.stack([
                (column + u[0] - scene_shape[1] / 2) * pixel - shift_mm[0],
                (row + u[1] - scene_shape[0] / 2) * pixel - shift_mm[1],
                np.full(rays, distance_mm),
            ], axis=1)  # fmt: skip
            azimuth, r = 2 * np.pi * u[3], radius * np.sqrt(u[2])
            face = np.stack([r * np.cos(azimuth), r * np.sin(azimuth), np.zeros(rays)], axis=1)
            source_of_rod = source @ to_rod.T  # z towards the scene
            way = face - source_of_rod
            length2 = (way**2).sum(1)
            cos_face = -way[:, 2] / np.sqrt(length2)
            cos_display = -(way @ to_rod)[:, 2] / np.sqrt(length2)
            slope_x, slope_y = way[:, 0] / -way[:, 2], way[:, 1] / -way[:, 2]
            position, glass, _, steepest, squares = follow(
                face[:, 0], face[:, 1], slope_x, slope_y, radius, length_mm, index
            )
            weight = cos_display ** (1 + emission_exponent) * cos_face * distance_mm**2 / length2
            weight *= np.sqrt(1 - steepest**2) >= cladding_index / index
            weight *= np.exp(-((4 * np.pi * roughness_nm * index / wavelength_nm) ** 2) * squares)
            air = _refract(glass, np.array([0.0, 0.0, 1.0]), index)
            if fresnel:
                weight *= _passes(cos_face, 1, index) * _passes(glass[:, 2], index, 1)
            out = air[:, :2] / air[:, 2:]
            if relay_numerical_aperture is not None:
                reach = np.tan(np.arcsin(relay_numerical_aperture))
                if pupil_distance_mm is None:
                    weight *= np.hypot(*out.T) <= reach
                else:
                    at_pupil = position[:, :2] + pupil_distance_mm * out - np.array(relay_shift_um) * 1e-3
                    weight *= np.hypot(*at_pupil.T) <= pupil_distance_mm * reach
            # At the sensor, in mm: M times the face, moved by (1 + M) times the lens, then on to the sensor's depth.
            M = magnification
            tilt = np.tan(np.radians(sensor_tilt_deg)) - (1 + M) * np.tan(np.radians(relay_tilt_deg))
            depth = defocus_um * 1e-3 + M * position[:, :2] @ tilt
            place = M * position[:, :2] + depth[:, None] * out / M
            turn = np.radians(roll_deg)
            place = place @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            place += ((1 + M) * np.array(relay_shift_um) - np.array(sensor_shift_um)) * 1e-3
            x, y = place.T / M
            matrix[:, :, row, column] = np.histogram2d(y, x, bins=edges, weights=weight)[0] / rays
    return matrix


def _passes(cosine, index_from, index_to):
    """Transmittance of unpolarised light by Fresnel's formulae of sines and tangents (Hecht, Optics, 4.6)."""
    angle = np.arccos(np.clip(cosine, -1, 1)) + 1e-9  # they are 0 / 0 at normal incidence
    other = np.arcsin(np.sin(angle) * index_from / index_to)
    R_s = (np.sin(angle - other) / np.sin(angle + other)) ** 2
    R_p = (np.tan(angle - other) / np.tan(angle + other)) ** 2
    return 1 - (R_s + R_p) / 2
