"""Any network under a budget of trained numbers: weights that are computed from shared templates."""

from lensless.sharing.conflict import conflict
from lensless.sharing.ensemble import Ensemble
from lensless.sharing.growth import grow, widen
from lensless.sharing.network import SharedNetwork
from lensless.sharing.plan import Plan
from lensless.sharing.refine import random_split, refine
from lensless.sharing.share import make_plan, share
from lensless.sharing.untie import untie

__all__ = [
    "Ensemble",
    "Plan",
    "SharedNetwork",
    "conflict",
    "grow",
    "make_plan",
    "random_split",
    "refine",
    "share",
    "untie",
    "widen",
]
