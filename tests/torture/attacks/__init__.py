"""Hostile files of every kind that is read, each built where it is wanted, and good ones to compare with."""

from attacks import addresses, calibrations, data_sets, frames, odd_files, pictures, recordings, tensor_files
from attacks.attack import Attack, Place
from attacks.good import GOOD

__all__ = ["ATTACKS", "GOOD", "Attack", "Place"]

SUBJECTS = (odd_files, frames, pictures, calibrations, tensor_files, data_sets, recordings, addresses)
ATTACKS: list[Attack] = [attack for subject in SUBJECTS for attack in subject.ATTACKS]
