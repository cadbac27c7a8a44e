"""The facts of a frame, for tests that build frames by hand."""

from hardware import FrameMeta

META = FrameMeta(
    sequence=0,
    t_host_ns=0,
    exposure_s=0.01,
    gain_db=0.0,
    bit_depth=12,
    black_level_dn=64,
    pixel_format="Mono12",
    camera_id="S-1",
    settings_id="abc",
)
