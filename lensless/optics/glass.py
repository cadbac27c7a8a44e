"""What glass does to light: its index over the wavelength, and what its faces let through."""

import torch
from torch import Tensor

# The spectral lines that define the index and the Abbe number of a glass, in nm: d, F, C.
_D_NM, _F_NM, _C_NM = 587.56, 486.13, 656.27


def index_at(wavelength_nm: float | Tensor, core_index: float, abbe_number: float | None) -> float | Tensor:
    """Refractive index by Cauchy's two terms, n = A + B / wavelength^2.

    B follows from the Abbe number V = (n_d - 1) / (n_F - n_C) of the lines at 587.6, 486.1 and 656.3 nm, A from n_d =
    `core_index`; without an Abbe number the index is the same for all light. Fused silica has V = 67.8; within 450 to
    650 nm this is then within 3e-4 of its measured index (Malitson, J. Opt. Soc. Am. 55, 1205, 1965, doi
    10.1364/JOSA.55.001205).
    """
    if abbe_number is None:
        return core_index
    B = (core_index - 1) / abbe_number / (_F_NM**-2 - _C_NM**-2)
    return core_index + B * (wavelength_nm**-2 - _D_NM**-2)


def reflectances(sin2: Tensor, index: float | Tensor) -> tuple[Tensor, Tensor]:
    """Share of s- and of p-polarised light that a face between air and glass reflects, by Fresnel's equations.

    `sin2` is the squared sine of the angle in air. The same share is reflected the other way.
    """
    air, glass = torch.sqrt(1 - sin2), torch.sqrt(1 - sin2 / index**2)
    R_s = ((air - index * glass) / (air + index * glass)) ** 2
    R_p = ((glass - index * air) / (glass + index * air)) ** 2
    return R_s, R_p


def transmittance(sin2: Tensor, index: float | Tensor) -> Tensor:
    """Share of unpolarised light that one face lets through."""
    R_s, R_p = reflectances(sin2, index)
    return 1 - (R_s + R_p) / 2


def window_transmittance(sin2: Tensor, index: float) -> Tensor:
    """Share of unpolarised light that passes both faces of a window, which keeps each polarisation apart.

    What is reflected to and fro inside the window is lost.
    """
    R_s, R_p = reflectances(sin2, index)
    return ((1 - R_s) ** 2 + (1 - R_p) ** 2) / 2
