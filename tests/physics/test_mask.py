"""Mask cameras against scipy's convolutions, and their shadows against geometry."""

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from PIL import Image

from hardware.errors import ConfigurationError
from lensless.optics import Channels, Mask, coded_aperture_psf, fresnel_number, psf_from_picture
from lensless.optics.mask import LARGEST_MATRIX_BYTES

SHAPES = [(1, 1), (2, 3), (5, 4), (7, 7), (8, 8), (11, 6), (13, 17), (1, 9)]


def random_psf(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) ** 3 + 1e-3


def framed(full: np.ndarray, middle: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """A window of `shape` whose pixel n // 2 lies at `middle` of an image with nothing around it."""
    wide = np.pad(full, 64)
    begin = [64 + m - n // 2 for m, n in zip(middle, shape, strict=True)]
    return wide[begin[0] : begin[0] + shape[0], begin[1] : begin[1] + shape[1]]


@pytest.mark.parametrize("psf_shape", SHAPES, ids=str)
def test_it_is_the_linear_convolution_with_its_middles_aligned(psf_shape):
    for seed, scene_shape in enumerate(SHAPES):
        for sensor_shape in SHAPES:
            psf, x = random_psf(psf_shape), np.random.default_rng(seed).normal(size=(2, *scene_shape))
            model = Mask(psf, scene_shape, sensor_shape, dtype=torch.float64)
            middle = [n // 2 + k // 2 for n, k in zip(scene_shape, psf_shape, strict=True)]

            def seen(picture, psf=psf, middle=middle, sensor_shape=sensor_shape):
                return framed(scipy.signal.convolve2d(picture, psf), middle, sensor_shape)

            white = seen(np.ones(scene_shape)).max()
            found = model.A(torch.from_numpy(x)[None]).numpy()[0]
            assert np.abs(found - np.stack([seen(picture) for picture in x]) / white).max() <= 1e-12


@pytest.mark.parametrize("shape", [(16, 16), (9, 14), (13, 17)], ids=str)
@pytest.mark.parametrize("psf_shape", [(3, 3), (4, 4), (5, 8), (1, 2)], ids=str)
def test_planes_of_one_size_are_scipys_filter_with_nothing_around(shape, psf_shape):
    psf, x = random_psf(psf_shape), np.random.default_rng(1).normal(size=shape)
    expected = scipy.ndimage.convolve(x, psf, mode="constant")
    white = scipy.ndimage.convolve(np.ones(shape), psf, mode="constant").max()
    model = Mask(psf, shape, shape, dtype=torch.float64)
    assert np.abs(model.A(torch.from_numpy(x)[None, None]).numpy()[0, 0] - expected / white).max() <= 1e-12


@pytest.mark.parametrize("sensor_shape", SHAPES, ids=str)
def test_the_adjoint_is_the_correlation_for_every_parity(sensor_shape):
    for psf_shape in SHAPES:
        for scene_shape in SHAPES:
            psf, y = random_psf(psf_shape), np.random.default_rng(2).normal(size=sensor_shape)
            model = Mask(psf, scene_shape, sensor_shape, dtype=torch.float64)
            # Turned by half a turn a PSF of k pixels has its middle at k - 1 - k // 2.
            middle = [m // 2 + k - 1 - k // 2 for m, k in zip(sensor_shape, psf_shape, strict=True)]
            expected = framed(scipy.signal.convolve2d(y, model.psf.numpy()[::-1, ::-1]), middle, scene_shape)
            found = model.A_adjoint(torch.from_numpy(y)[None, None]).numpy()[0, 0]
            assert np.abs(found - expected).max() <= 1e-12


def test_a_point_in_the_middle_casts_the_psf_and_moves_with_the_point():
    psf = random_psf((9, 9))
    model = Mask(psf, (15, 15), (25, 25), dtype=torch.float64)
    for row, column in ((7, 7), (4, 9), (0, 14)):
        x = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
        x[0, 0, row, column] = 1
        expected = np.zeros((25, 25))
        expected[row + 1 : row + 10, column + 1 : column + 10] = model.psf  # 12 + (row - 7) - 4
        assert np.abs(model.A(x).numpy()[0, 0] - expected).max() <= 1e-15
    assert np.allclose(model.psf / model.psf.sum(), psf / psf.sum(), rtol=1e-14)


@pytest.mark.parametrize("sizes", [((13, 17), (29, 31), (37, 41)), ((64, 48), (61, 67), (101, 53))], ids=str)
def test_results_are_the_same_bits_on_repeated_calls(sizes):
    scene_shape, psf_shape, sensor_shape = sizes
    model, other = (Mask(random_psf(psf_shape), scene_shape, sensor_shape) for _ in range(2))
    x, y = torch.rand(3, 2, *scene_shape), torch.rand(3, 2, *sensor_shape)
    first, back = model.A(x), model.A_adjoint(y)
    for _ in range(3):
        Mask(random_psf((7, 5)), (19, 23), (8, 8)).A(torch.rand(1, 1, 19, 23))  # plans of other sizes in between
        assert torch.equal(model.A(x), first) and torch.equal(other.A(x), first)
        assert torch.equal(model.A_adjoint(y), back)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("primes", [(31, 61, 97), (127, 251, 509), (97, 31, 499)], ids=str)
def test_a_gpu_agrees_with_the_cpu_on_every_call_at_awkward_sizes(primes):
    n, k, m = primes
    sizes = dict(scene_shape=(n, n + 1), sensor_shape=(m, m + 3))
    psf = random_psf((k, k - 3))
    cpu, gpu = Mask(psf, **sizes), Mask(psf, **sizes, device="cuda")
    x, y = torch.rand(2, 3, *cpu.scene_shape), torch.rand(2, 3, *cpu.sensor_shape)
    on_gpu = [(gpu.A(x.cuda()), gpu.A_adjoint(y.cuda())) for _ in range(4)]
    for measured, back in on_gpu:
        assert torch.equal(measured, on_gpu[0][0]) and torch.equal(back, on_gpu[0][1])
        assert (measured.cpu() - cpu.A(x)).norm() <= 1e-4 * cpu.A(x).norm()
        assert (back.cpu() - cpu.A_adjoint(y)).norm() <= 1e-4 * cpu.A_adjoint(y).norm()
    assert torch.allclose(cpu.cuda().A(x.cuda()), on_gpu[0][0], rtol=0, atol=1e-5)


def test_precision_and_matrix_follow_the_psf():
    model = Mask(random_psf((9, 6)), (8, 9), (11, 10)).double()
    basis = torch.eye(72, dtype=torch.float64).reshape(72, 1, 8, 9)
    assert torch.allclose(model.A(basis).flatten(1).T, model.as_matrix(), rtol=0, atol=1e-15)
    assert not model.state_dict() and not list(model.parameters())
    assert model.to(torch.float32).A(torch.rand(1, 1, 8, 9)).dtype == torch.float32


def test_a_point_that_is_a_point_is_a_camera_that_sees_what_it_is_shown():
    x = torch.rand(2, 3, 9, 12, dtype=torch.float64)
    model = Mask([[5.0]], (9, 12), (9, 12), dtype=torch.float64)
    assert torch.allclose(model.A(x), x, rtol=0, atol=1e-14) and model.norm() == pytest.approx(1)


# --- large models ---


def test_the_norm_of_a_large_model_needs_no_matrix():
    model = Mask(random_psf((15, 22)), (40, 50), (51, 44), dtype=torch.float64)
    assert model.norm() == pytest.approx(float(model.singular_values()[0]), rel=1e-9)


def test_a_matrix_that_does_not_fit_in_memory_is_refused_with_its_size():
    model = Mask(random_psf((3, 3)), (200, 200), (200, 201))
    assert LARGEST_MATRIX_BYTES < 200 * 200 * 200 * 201 * 4
    for call in (model.as_matrix, model.svd, model.gram):
        with pytest.raises(ConfigurationError, match=r"40200 x 40000, 6\.0 GiB, limit 4 GiB"):
            call()


def real_psf(data_root, **changes) -> np.ndarray:
    with Image.open(data_root / "psf" / "diffuser_psf.png") as picture:
        return psf_from_picture(np.asarray(picture.convert("RGB"), dtype=float), **changes)


def test_a_real_diffuser(data_root):
    psf = real_psf(data_root, shape=(135, 240))[1]
    assert psf.shape == (135, 240) and psf.min() >= 0
    model = Mask(psf, (101, 150), (135, 239), dtype=torch.float64)
    x = np.random.default_rng(0).random((101, 150))
    full = scipy.signal.fftconvolve(x, psf)
    expected = framed(full, (50 + 67, 75 + 120), (135, 239))
    found = model.A(torch.from_numpy(x)[None, None]).numpy()[0, 0]
    assert np.allclose(found / found.max(), expected / expected.max(), rtol=0, atol=1e-12)
    # The largest direction has only positive entries (Perron and Frobenius): bounds by Collatz and Wielandt.
    v = torch.ones(1, 1, 101, 150, dtype=torch.float64)
    for _ in range(300):
        v = model.normal(v / v.max())
    ratio = model.normal(v) / v
    assert float(ratio.min()) * (1 - 1e-9) <= model.norm() ** 2 <= float(ratio.max()) * (1 + 1e-9)
    assert float(ratio.max() / ratio.min()) < 1.01


def test_three_colours_of_a_real_diffuser(data_root):
    psfs = real_psf(data_root, shape=(54, 96))
    model = Channels([Mask(psf, (32, 40), (54, 96)) for psf in psfs], weights=psfs.sum((1, 2)))
    assert model.A(torch.rand(2, 3, 32, 40)).shape == (2, 3, 54, 96) and max(model.weights) == pytest.approx(1)


# --- where PSFs come from ---


def test_a_picture_of_a_point_loses_its_background_and_nothing_else():
    clean = np.zeros((30, 40))
    clean[10:20, 12:30] = random_psf((10, 18))
    expected = clean / clean.sum()
    assert np.allclose(psf_from_picture(clean + 7, background=0.3), expected, rtol=1e-12, atol=1e-17)
    corner = (slice(0, 8), slice(0, 8))
    assert np.allclose(psf_from_picture(clean + 7, background=corner), expected, rtol=1e-12, atol=1e-17)
    colour = np.stack([clean + 3, 2 * clean + 5, 0.5 * clean], -1)
    found = psf_from_picture(colour, background=corner)
    assert np.allclose(found, np.multiply.outer([0.5, 1, 0.25], expected), rtol=1e-12, atol=1e-17)


def test_fewer_pixels_by_area_lose_no_light_and_move_nothing():
    picture = random_psf((30, 45))
    blocks = picture.reshape(10, 3, 9, 5).sum((1, 3))
    assert np.allclose(psf_from_picture(picture, 0.0, (10, 9)), _less_darkest(picture, blocks, 15), rtol=1e-12)
    for shape in ((7, 11), (29, 13), (30, 45)):
        small = psf_from_picture(picture, 0.0, shape)
        assert small.shape == shape and small.sum() == pytest.approx(1)
        for axis in (0, 1):
            found, expected = (
                (array.sum(1 - axis) @ ((np.arange(array.shape[axis]) + 0.5) / array.shape[axis])) / array.sum()
                for array in (small, picture - picture.min())
            )
            assert abs(found - expected) <= 0.25 / shape[axis]  # what a place loses in a coarse pixel


def _less_darkest(picture, blocks, count):
    light = blocks - count * picture.min()
    return light / light.sum()


def test_the_shadow_of_a_mask_is_its_picture_magnified():
    facts = dict(features=(5, 7), feature_um=30.0, mask_distance_mm=0.5, point_distance_mm=2.0, seed=4)
    shadow_um = 30.0 * 2.5 / 2.0  # (a + b) / a
    psf = coded_aperture_psf(**facts, pitch_um=shadow_um / 3)
    assert psf.shape == (15, 21) and set(np.unique(psf.round(12))) == {0.0, 1.0}
    mask = psf[::3, ::3]
    assert np.allclose(psf, np.kron(mask, np.ones((3, 3)))) and 0 < mask.mean() < 1
    # With pixels that do not fit, each is lit by its share of area: count points of the shadow that fall into it.
    other = coded_aperture_psf(**facts, pitch_um=10.0, shape=(21, 28))
    points = [(np.arange(n * 200) + 0.5) / 200 * 10.0 - n * 5.0 for n in (21, 28)]
    rows, columns = (np.floor(at / shadow_um + n / 2).astype(int) for at, n in zip(points, (5, 7), strict=True))
    inside = np.pad(mask, 1)[np.ix_(rows.clip(-1, 5) + 1, columns.clip(-1, 7) + 1)]
    assert np.allclose(other, inside.reshape(21, 200, 28, 200).mean((1, 3)), rtol=0, atol=0.01)
    assert np.array_equal(other, coded_aperture_psf(**facts, pitch_um=10.0, shape=(21, 28)))
    assert coded_aperture_psf((300, 300), open_share=0.2, pitch_um=30.12).mean() == pytest.approx(0.2, abs=0.01)


def test_the_fresnel_number_is_that_of_the_shorter_way():
    assert fresnel_number(100.0, 1.0, math.inf, 500.0) == pytest.approx(20)  # (0.1 mm)^2 / (0.5 um 1 mm)
    assert fresnel_number(100.0, 2.0, 2.0, 500.0) == pytest.approx(20)
    with pytest.raises(ConfigurationError, match=r"Fresnel number 0\.64"):
        coded_aperture_psf(feature_um=30.0, mask_distance_mm=2.8, point_distance_mm=math.inf, wavelength_nm=500.0)


# --- what is refused ---


@pytest.mark.parametrize(
    "psf, message",
    [
        (np.ones(4), r"psf has shape \(4,\), expected \(rows, columns\)"),
        (np.ones((3, 4, 4)), r"colours have a Mask each"),
        (np.ones((0, 4)), r"psf has shape \(0, 4\)"),
        ([[1.0, math.nan], [math.inf, 1.0]], "2 entries that are NaN or infinity"),
        (np.zeros((3, 3)), "holds no light"),
        (-np.ones((3, 3)), "holds no light"),
        ([[1.0, 2.0], [3.0, -0.1]], "-0.1 at row 1, column 1"),
        (np.ones((2, 2)) * 1j, "complex"),
        ([["a"]], "no numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_psf_that_cannot_be_is_refused(psf, message):
    with pytest.raises(ConfigurationError, match=message):
        Mask(psf, (8, 8), (8, 8))


def test_a_psf_may_be_negative_by_its_noise_and_no_more():
    psf = random_psf((6, 7))
    psf[2, 3] = -0.004
    noisy = Mask(psf, (8, 8), (8, 8), noise_std=1e-3)
    assert float(noisy.psf.min()) < 0
    assert noisy.sampling_error == pytest.approx(1e-3 * 42**0.5 / np.linalg.norm(psf))
    with pytest.raises(ConfigurationError, match=r"row 2, column 3, more than 5 noise_std of 0\.0005"):
        Mask(psf, (8, 8), (8, 8), noise_std=5e-4)
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(ConfigurationError, match="noise_std"):
            Mask(psf, (8, 8), (8, 8), noise_std=wrong)


def test_a_psf_that_misses_the_sensor_is_refused():
    psf = np.zeros((41, 41))
    psf[0, 0] = 1
    with pytest.raises(
        ConfigurationError, match=r"casts no light of a scene of \(8, 8\) pixels on a sensor of \(8, 8\)"
    ):
        Mask(psf, (8, 8), (8, 8))
    Mask(psf, (8, 8), (48, 48))


@pytest.mark.parametrize("wrong", [dict(background=1.0), dict(background=-0.1), dict(background=math.nan)], ids=str)
def test_a_background_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="background"):
        psf_from_picture(random_psf((5, 5)), **wrong)


def test_a_picture_without_a_point_is_refused():
    with pytest.raises(ConfigurationError, match="no light is left"):
        psf_from_picture(np.full((5, 5), 3.0))
    with pytest.raises(ConfigurationError, match="holds none of"):
        psf_from_picture(np.ones((5, 5)), (slice(9, 12), slice(0, 2)))
    with pytest.raises(ConfigurationError, match="1 entries NaN"):
        psf_from_picture([[1.0, math.nan]])


@pytest.mark.parametrize(
    "wrong",
    [
        dict(feature_um=0.0),
        dict(feature_um=math.nan),
        dict(mask_distance_mm=-1.0),
        dict(mask_distance_mm=math.inf),
        dict(point_distance_mm=0.0),
        dict(pitch_um=math.inf),
        dict(open_share=1.1),
        dict(wavelength_nm=0.0),
    ],
    ids=str,
)
def test_a_mask_that_cannot_be_is_refused_by_name(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ConfigurationError, match=f"{name} = {value}.*; expected above 0"):
        coded_aperture_psf(**wrong)
