"""`lensless calibrate`: from frames to a measured rig."""
