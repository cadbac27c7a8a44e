"""Collecting pairs: scenes are shown to a rig, and its frames of each are recorded."""
