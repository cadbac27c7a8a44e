"""Any network under a budget of trained numbers: weights that are computed from shared templates."""

from lensless.sharing.budget import trained_numbers
from lensless.sharing.conflict import conflict, similarity
from lensless.sharing.ensemble import Ensemble
from lensless.sharing.growth import grow, widen
from lensless.sharing.network import SharedNetwork
from lensless.sharing.plan import Plan
from lensless.sharing.refine import random_split, refine
from lensless.sharing.search import search
from lensless.sharing.share import DEFAULT_METHOD, METHODS, make_plan, share
from lensless.sharing.summary import summary, table, text
from lensless.sharing.untie import untie

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "Ensemble",
    "Plan",
    "SharedNetwork",
    "conflict",
    "grow",
    "make_plan",
    "random_split",
    "refine",
    "search",
    "share",
    "similarity",
    "summary",
    "table",
    "text",
    "trained_numbers",
    "untie",
    "widen",
]
