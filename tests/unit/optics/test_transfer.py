"""Measured matrices: what is refused, what is kept, how they are compressed and stored."""

import json
import math
import os

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hardware.errors import ConfigurationError, InputError, StorageError
from lensless.optics import TransferMatrix
from lensless.optics.operator import noise_reach
from lensless.tensor_file import digest_of

SCENE, SENSOR = (4, 5), (6, 7)  # 20 columns, 42 rows


def positive(seed=0, shape=(42, 20)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def decaying(rank=20) -> torch.Tensor:
    """Singular values 1, 1/2, 1/4 ..., in float64."""
    random = np.random.default_rng(1)
    left, _ = np.linalg.qr(random.normal(size=(42, rank)))
    right, _ = np.linalg.qr(random.normal(size=(20, rank)))
    return torch.from_numpy(left * 0.5 ** np.arange(rank) @ right.T)


def measured(noise_std=1e-3, seed=0) -> np.ndarray:
    """Half of the cells see no light; noise falls on all."""
    matrix = positive(seed)
    matrix[::2] = 0
    return (matrix + noise_std * np.random.default_rng(seed + 1).normal(size=matrix.shape)).astype(np.float32)


# --- what it is ---


def test_a_matrix_of_numpy_of_lists_or_of_whole_numbers_is_taken_as_it_is():
    matrix = positive()
    x = torch.rand(2, 3, *SCENE, dtype=torch.float64)
    model = TransferMatrix(matrix, SCENE, SENSOR)
    assert torch.equal(model.as_matrix(), torch.from_numpy(matrix))
    expected = np.einsum("mn,bcn->bcm", matrix, x.flatten(2).numpy())
    assert np.allclose(model.A(x).flatten(2).numpy(), expected, rtol=1e-13)
    matrix[0, 0] = 5  # ours is a copy
    assert float(model.as_matrix()[0, 0]) < 1
    matrix.flags.writeable = False
    TransferMatrix(matrix, SCENE, SENSOR)
    assert TransferMatrix([[1, 2], [3, 4]], (1, 2), (2, 1)).as_matrix().dtype == torch.float32


def test_factors_are_applied_one_after_the_other():
    left, right = positive(0, (42, 3)), positive(1, (3, 20))
    model = TransferMatrix.low_rank(left, right, SCENE, SENSOR)
    assert model.rank == 3 and TransferMatrix(positive(), SCENE, SENSOR).rank is None
    assert np.allclose(model.as_matrix(), left @ right, rtol=1e-14)
    U, s, Vh = model.svd()
    weights, few = torch.rand(42, dtype=torch.float64), torch.tensor([5, 0, 41])
    A = model.as_matrix()
    assert torch.allclose(model.gram(weights), A.T @ torch.diag(weights) @ A, rtol=1e-12)
    assert torch.allclose(model.rows(few), A[few], rtol=1e-14)
    assert s.shape == (3,) and torch.allclose((U * s) @ Vh, model.as_matrix(), rtol=0, atol=1e-12)
    assert model.singular_values().shape == (20,) and not model.singular_values()[3:].any()


def test_noise_is_stated_as_a_share_of_the_matrix():
    clean, std = positive(), np.linspace(0, 0.1, 42)
    model = TransferMatrix(clean, SCENE, SENSOR, noise_std=std)
    shares = [
        np.linalg.norm(std[:, None] * np.random.default_rng(seed).normal(size=clean.shape)) / np.linalg.norm(clean)
        for seed in range(200)
    ]
    assert model.sampling_error == pytest.approx(np.mean(shares), rel=0.01)
    assert TransferMatrix(clean, SCENE, SENSOR).sampling_error == 0
    same = TransferMatrix(clean, SCENE, SENSOR, noise_std=std.reshape(SENSOR))
    assert torch.equal(same.noise_std, model.noise_std)


# --- what is refused ---


@pytest.mark.parametrize("shape", [(20, 42), (42, 21), (840,), (1, 42, 20)])
def test_another_shape_is_refused_with_both(shape):
    with pytest.raises(ConfigurationError) as refusal:
        TransferMatrix(np.ones(shape), SCENE, SENSOR)
    assert str(shape) in str(refusal.value) and "(42, 20)" in str(refusal.value)


@pytest.mark.parametrize(
    "left, right", [((42, 3), (4, 20)), ((42, 3), (3, 21)), ((41, 3), (3, 20)), ((42, 0), (0, 20))]
)
def test_factors_of_another_shape_are_refused_with_both(left, right):
    with pytest.raises(ConfigurationError) as refusal:
        TransferMatrix.low_rank(np.ones(left), np.ones(right), SCENE, SENSOR)
    assert str(left) in str(refusal.value) and str(right) in str(refusal.value)


def test_columns_of_nan_are_counted_and_the_first_is_named():
    matrix = positive()
    matrix[3, 7], matrix[5, 7], matrix[0, 19] = math.nan, math.inf, -math.inf
    with pytest.raises(ConfigurationError, match=r"2 of 20 columns .* \(row 1, column 2\)"):
        TransferMatrix(matrix, SCENE, SENSOR)
    right = positive(0, (3, 20))
    right[1, 19] = math.nan
    with pytest.raises(ConfigurationError, match=r"1 of 20 columns .* \(row 3, column 4\)"):
        TransferMatrix.low_rank(np.ones((42, 3)), right, SCENE, SENSOR)
    with pytest.raises(ConfigurationError, match="left factor holds NaN"):
        TransferMatrix.low_rank(np.full((42, 3), math.nan), np.ones((3, 20)), SCENE, SENSOR)


def test_light_that_is_negative_beyond_noise_is_refused_with_its_place_and_value():
    matrix = positive()
    matrix[9, 13] = -0.25  # sensor cell (1, 2), scene pixel (2, 3)
    message = r"scene pixel \(row 2, column 3\) is -0\.25 at sensor cell \(row 1, column 2\)"
    for noise_std in (0.0, 0.04, np.where(np.arange(42) == 9, 0.04, 1.0)):
        with pytest.raises(ConfigurationError, match=message):
            TransferMatrix(matrix, SCENE, SENSOR, noise_std=noise_std)
    for noise_std in (0.06, np.where(np.arange(42) == 9, 0.06, 0.0)):
        assert float(TransferMatrix(matrix, SCENE, SENSOR, noise_std=noise_std).as_matrix()[9, 13]) == -0.25
    assert TransferMatrix(matrix, SCENE, SENSOR, negative_to=math.inf).as_matrix().min() < 0
    left, right = torch.linalg.qr(torch.from_numpy(matrix))
    with pytest.raises(ConfigurationError, match=message):
        TransferMatrix.low_rank(left, right, SCENE, SENSOR, noise_std=0.04)


def test_noise_alone_is_not_refused_however_large_the_matrix_is():
    noise = np.random.default_rng(0).normal(size=(3000, 2000)).astype(np.float32)
    noise[0, 0] = 100
    assert noise.min() < -5
    TransferMatrix(noise, (40, 50), (50, 60), noise_std=1.0)
    assert noise_reach(100) == 5 and 6.5 < noise_reach(57_600 * 1024) < 6.8


@pytest.mark.parametrize("noise_std", [-1.0, math.nan, math.inf, np.ones(20), np.ones((7, 6))], ids=str)
def test_noise_that_cannot_be_is_refused(noise_std):
    with pytest.raises(ConfigurationError, match="noise_std"):
        TransferMatrix(positive(), SCENE, SENSOR, noise_std=noise_std)


def test_a_matrix_without_light_is_refused():
    with pytest.raises(ConfigurationError, match="every entry is 0"):
        TransferMatrix(np.zeros((42, 20)), SCENE, SENSOR)
    with pytest.raises(ConfigurationError, match="complex"):
        TransferMatrix(np.ones((42, 20)) * 1j, SCENE, SENSOR)
    with pytest.raises(ConfigurationError, match="negative_to"):
        TransferMatrix(positive(), SCENE, SENSOR, negative_to=math.nan)


# --- compression ---


@pytest.mark.parametrize("tolerance", [0.9, 0.3, 0.05, 1e-3, 1e-5])
def test_compression_is_the_lowest_rank_within_the_tolerance(tolerance):
    matrix = decaying()
    model = TransferMatrix(matrix, SCENE, SENSOR, negative_to=math.inf).compressed(tolerance)
    error = float((model.as_matrix() - matrix).norm() / matrix.norm())
    assert error <= tolerance and model.truncation_error == pytest.approx(error, rel=1e-4, abs=1e-8)
    # Of singular values 2^-k the share beyond rank r is 2^-r, but for the last of the twenty.
    assert model.rank == math.ceil(-math.log2(tolerance))
    assert model.sampling_error == model.truncation_error


def test_what_is_compressed_can_be_compressed_again_and_remembers_all():
    model = TransferMatrix(decaying(), SCENE, SENSOR, negative_to=math.inf).compressed(1e-3).compressed(0.1)
    error = float((model.as_matrix() - decaying()).norm() / decaying().norm())
    assert model.rank == 4 and model.truncation_error == pytest.approx(error, rel=1e-5)
    low = TransferMatrix.low_rank(positive(0, (42, 2)), positive(1, (2, 20)), SCENE, SENSOR)
    assert low.compressed(1e-6).rank == 2 and low.compressed(1e-6).truncation_error < 1e-7


@pytest.mark.parametrize("tolerance", [0.0, 1e-7, 1.0, -1.0, math.nan])
def test_a_tolerance_that_cannot_be_met_is_refused(tolerance):
    with pytest.raises(ConfigurationError, match=r"tolerance = .*; expected at least 1e-06 and below 1"):
        TransferMatrix(positive(), SCENE, SENSOR).compressed(tolerance)


# --- files ---


def test_float16_where_noise_hides_its_rounding_and_float32_where_it_does_not(tmp_path):
    matrix, path = measured(1e-3), tmp_path / "matrix.safetensors"
    assert TransferMatrix(matrix, SCENE, SENSOR, noise_std=1e-3).save(path) == "float16"
    assert load_file(path)["left"].dtype == torch.float16
    back = TransferMatrix.load(path)
    assert back.as_matrix().dtype == torch.float32
    assert 0 < np.abs(back.as_matrix().numpy() - matrix).max() <= 1e-3
    assert TransferMatrix(matrix, SCENE, SENSOR, noise_std=1e-4, negative_to=math.inf).save(path) == "float32"
    assert load_file(path)["left"].dtype == torch.float32
    assert torch.equal(TransferMatrix.load(path).as_matrix(), torch.from_numpy(matrix))


def test_one_quiet_cell_is_enough_for_float32(tmp_path):
    std = np.full(42, 1e-3)
    std[5] = 1e-7
    assert TransferMatrix(positive(), SCENE, SENSOR, noise_std=std).save(tmp_path / "m") == "float32"


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1.0, 3e7, 1e30])
def test_the_scale_of_a_matrix_does_not_matter(tmp_path, scale):
    """float16 alone would lose 1e-9 to zero and 3e7 to infinity."""
    matrix = torch.from_numpy(positive()).float() * scale
    model = TransferMatrix(matrix, SCENE, SENSOR, noise_std=5e-4 * scale)
    assert model.save(tmp_path / "m") == "float16"
    back = TransferMatrix.load(tmp_path / "m")
    assert float((back.as_matrix() - matrix).abs().max()) <= 5e-4 * scale
    assert float(back.noise_std) == pytest.approx(5e-4 * scale)


def test_entries_too_small_for_float16_count_by_what_is_lost(tmp_path):
    matrix = positive()
    matrix[:, 0] = 1e-13  # beside 1, less than the smallest number of float16 beside its largest
    assert TransferMatrix(matrix, SCENE, SENSOR, noise_std=1e-3).save(tmp_path / "m") == "float16"
    quiet = np.where(np.arange(42) == 0, 1e-14, 1e-3)
    matrix[0, 1:] = 0
    assert TransferMatrix(matrix, SCENE, SENSOR, noise_std=quiet).save(tmp_path / "m") == "float32"


@pytest.mark.parametrize("noise_std", [1e-2, 0.0])
def test_a_round_trip_keeps_everything(tmp_path, noise_std):
    dense = TransferMatrix(measured(1e-2), SCENE, SENSOR, noise_std=1e-2 * np.linspace(1, 2, 42))
    for model in (dense, dense.compressed(0.05), TransferMatrix(positive(), SCENE, SENSOR, noise_std=noise_std)):
        stored = model.save(tmp_path / "m")
        back = TransferMatrix.load(str(tmp_path / "m"))
        error = (back.as_matrix() - model.as_matrix()).abs().amax(1)
        limit = model.noise_std.expand(42) if stored == "float16" else torch.full((42,), 1e-6)
        assert (error <= limit).all()
        assert (back.rank, back.scene_shape, back.sensor_shape) == (model.rank, SCENE, SENSOR)
        assert torch.allclose(back.noise_std, model.noise_std.float()) and back.noise_std.shape == model.noise_std.shape
        assert back.truncation_error == model.truncation_error
        assert back.sampling_error == pytest.approx(model.sampling_error, rel=1e-4)
        again = back.save(tmp_path / "again")
        assert again == stored
        assert (TransferMatrix.load(tmp_path / "again").as_matrix() - back.as_matrix()).abs().max() <= 1e-6


def test_a_file_replaces_the_old_one_at_once_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "m"
    TransferMatrix(positive(0), SCENE, SENSOR).save(path)
    old = path.read_bytes()
    path.chmod(0o644)
    TransferMatrix(positive(1), SCENE, SENSOR).save(path)
    assert path.read_bytes() != old and os.listdir(tmp_path) == ["m"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    model = TransferMatrix(positive(), SCENE, SENSOR)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="cannot write"):
        model.save(tmp_path / "file" / "m")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="untouched"):
        model.save(tmp_path / "folder")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_every_changed_or_missing_byte_is_found(tmp_path):
    path = tmp_path / "m"
    TransferMatrix(measured(), SCENE, SENSOR, noise_std=1e-3).save(path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    places = [0, 7, 8, 9, len(whole) - 1, *random.integers(0, len(whole), 300)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(random.integers(8))
        _refused(path, bytes(changed))
    for length in (0, 1, 8, 100, len(whole) // 2, len(whole) - 1):
        _refused(path, whole[:length])
    _refused(path, whole + b"\0")
    with pytest.raises(InputError, match="does not exist"):
        TransferMatrix.load(tmp_path / "none")
    with pytest.raises(InputError, match="no file"):
        TransferMatrix.load(tmp_path)


def _refused(path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        TransferMatrix.load(path)
    assert str(path) in str(refusal.value) and refusal.value.exit_code == 5


@pytest.mark.parametrize(
    "change",
    [
        {"scene_shape": [5, 5]},
        {"sensor_shape": "wide"},
        {"scene_shape": None},
        {"scales": {"left": 0.0}},
        {"scales": {"left": "1"}},
        {"scales": {"middle": 1.0}},
        {"scales": {}},
        {"scales": None},
        {"truncation_error": None},
        {"format": "another"},
    ],
    ids=str,
)
def test_a_file_with_a_right_checksum_and_wrong_facts_is_refused(tmp_path, change):
    path = tmp_path / "m"
    TransferMatrix(positive(), SCENE, SENSOR).save(path)
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["facts"]) | change
    tensors, text = load_file(path), json.dumps(facts)
    save_file(tensors, path, metadata={"facts": text, "sha256": digest_of(tensors, text)})
    _refused(path, path.read_bytes())


def test_files_of_other_programs_are_refused(tmp_path):
    save_file({"left": torch.ones(42, 20)}, tmp_path / "m")
    _refused(tmp_path / "m", (tmp_path / "m").read_bytes())
    _refused(tmp_path / "m", b"\x80\x04\x95 a pickle")
