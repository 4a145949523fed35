"""Scenarios: what is streamed, to whom which labels are visible, and the Avalanche benchmark made from it."""

from clsim.scenario.plan.stream_plan import ClassGroups, StreamPlan, TaskPlan
from clsim.scenario.scenario import Scenario, load_scenario, open_dataset, shipped_scenarios

__all__ = ["ClassGroups", "Scenario", "StreamPlan", "TaskPlan", "load_scenario", "open_dataset", "shipped_scenarios"]
