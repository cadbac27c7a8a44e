"""Networks under a budget of trained numbers: weights that are mixed from shared templates."""

from lensless.sharing.plan import Plan
from lensless.sharing.share import make_plan, share

__all__ = ["Plan", "make_plan", "share"]
