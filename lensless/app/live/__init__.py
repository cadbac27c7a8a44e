"""The live view: Camera -> ring -> Calibration.apply -> Task -> viewer, until somebody has seen enough."""
