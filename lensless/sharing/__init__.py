"""Networks under a budget of trained numbers: weights that are mixed from shared templates."""

from lensless.sharing.conflict import Conflict, conflict
from lensless.sharing.ensemble import Ensemble
from lensless.sharing.growth import Grown, grow
from lensless.sharing.network import SharedNetwork
from lensless.sharing.plan import Plan
from lensless.sharing.refine import refine
from lensless.sharing.share import make_plan, share

__all__ = ["Conflict", "Ensemble", "Grown", "Plan", "SharedNetwork", "conflict", "grow", "make_plan", "refine", "share"]
