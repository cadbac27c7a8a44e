"""The page of a calibration: what was found, and the figures to see it by."""

from typing import TYPE_CHECKING

import numpy as np

from calibration import Calibration
from hardware.rig import RigSpec
from lensless.app.calibrate import drawing
from lensless.app.version import code_version
from lensless.evaluate import report
from lensless.evaluate.drawing import frame_uri

if TYPE_CHECKING:
    from lensless.app.calibrate.bundle import Found

LARGE = "width: 100%; max-width: 26rem; background: #000; border-radius: 8px; display: block"


def page(found: "Found", spec: RigSpec, calibration: Calibration) -> str:
    """The whole page."""
    meta, matrix = found.meta, found.matrix
    lead = (
        f"Camera {meta.camera_id} before rig {found.design.id}, at {found.exposure_s * 1e3:.4g} ms and "
        f"{meta.gain_db:g} dB. The matrix is known to {matrix.error:.1%}; {matrix.modes} of its "
        f"{len(matrix.singular_values)} modes stand out of the noise."
    )
    sections = [
        report.section(
            "What was measured", "Each value with its standard error; the true one lies within twice that, as a rule.",
            _table(found.rows()),
        ),
        _sensor(found), _patterns(found), _matrix(found, spec), _made_from(found, spec, calibration),
    ]  # fmt: skip
    return report.page(f"Calibration of {spec.id}", lead, sections)


def _table(rows: list[tuple[str, str, str]]) -> str:
    cells = "".join(
        f"<tr><td>{report.escape(name)}</td>"
        f'<td style="white-space: nowrap">{report.escape(_plus_minus(value))}</td>'
        f'<td class="note">{report.escape(note)}</td></tr>'
        for name, value, note in rows
    )
    return f'<div class="scroll"><table>{cells}</table></div>'


def _plus_minus(value: str) -> str:
    return value.replace("+-", "±")


def _sensor(found: "Found") -> str:
    sensor = found.sensor
    parts = [
        (
            drawing.photon_transfer(sensor.transfer, float(sensor.dark.variance_0_dn2.value)),
            "Photon transfer: the variance that light adds, against the light. Its slope is one over the gain; where "
            "it falls, pixels are full.",
        ),
    ]
    if sensor.linearity is not None:
        parts.append(
            (drawing.linearity(sensor.linearity), "Linearity: how far the signal lies off a straight line in exposure.")
        )
    if sensor.dark.mean_rate_dn_per_s is not None:
        parts.append((drawing.dark_rates(sensor), "Dark current of each pixel; hot ones lie far to the right."))
    if sensor.doubling_c is not None:
        every = f"it doubles every {_plus_minus(str(sensor.doubling_c))} °C."
        parts.append((drawing.dark_growth(sensor), f"Dark current against temperature: {every}"))
    return report.section(
        "The sensor", "EMVA 1288, from frames of a covered and of a lit sensor.", report.figures(parts)
    )


def _patterns(found: "Found") -> str:
    sensor = found.sensor
    pictures = [
        (sensor.dark.at(found.exposure_s), "Dark frame, stretched."),
    ]
    if count := int(sensor.defects.any.sum()):
        pictures.append((sensor.defects.any.astype(np.uint8) * 255, f"{count} defective pixels, white."))
    if sensor.flat is not None:
        pictures.insert(1, (sensor.flat, "Response of the pixels, stretched."))
    images = [
        (f'<img alt="{report.escape(words)}" src="{frame_uri(np.asarray(picture), 320)}" style="{LARGE}">', words)
        for picture, words in pictures
    ]
    return report.section("Its patterns", "What each pixel does for itself, frame after frame.", report.figures(images))


def _matrix(found: "Found", spec: RigSpec) -> str:
    matrix = found.matrix
    rows, columns = spec.scene.shape
    psf = matrix.matrix.reshape(*spec.sensor.shape, rows, columns)
    places = [
        (round((0.5 + i) * rows / 3 - 0.5), round((0.5 + j) * columns / 3 - 0.5)) for i in range(3) for j in range(3)
    ]
    nine = report.nine(
        [np.asarray(psf[..., row, column]) for row, column in places],
        [f"row {row}, column {column}" for row, column in places],
    )
    parts = [
        (
            drawing.spectrum(matrix.singular_values, matrix.noise_floor),
            "Singular values of the matrix as it came; below the line they are those of noise.",
        ),
        (
            drawing.residuals(matrix.decoded.residual),
            "What the matrix leaves of each frame, by what noise leaves: about 1. A frame of another pattern stands "
            "far above.",
        ),
    ]
    return report.section(
        "The transfer matrix", "What nine points of the display send to the sensor, each stretched for itself.", nine,
        report.figures(parts),
    )  # fmt: skip


def _made_from(found: "Found", spec: RigSpec, calibration: Calibration) -> str:
    display = found.provenance["display"]
    facts = {
        "rig": f"{spec.id}, of design {found.design.id} {found.design.fingerprint[:12]}",
        "calibration": calibration.id, "camera": f"{found.meta.camera_id} at {found.provenance['source']}",
        "display": f"{display['address']}, gamma {display['response']['gamma']:.2f}, bright {display['bright']:.3g}",
        "settle time": f"{display['settle']['settle_s'] * 1e3:.0f} ms", "code": code_version(),
    }  # fmt: skip
    return report.provenance(facts)
