"""A whole simulated district: its plan, its devices, its files, its script and its control."""

from simulators.district.control import Control
from simulators.district.district import District
from simulators.district.plan import Kind, draw
from simulators.district.scenario import Scenario

__all__ = ["Control", "District", "Kind", "Scenario", "draw"]
