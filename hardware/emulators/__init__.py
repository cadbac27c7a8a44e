"""Devices without hardware: what speaks on a pseudo-terminal as a board or a stage does, with faults on demand."""
