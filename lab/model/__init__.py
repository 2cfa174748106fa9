"""All nouns of the lab: frozen, keyword-only, units in the names; no behaviour beyond what their own fields decide."""

from lab.model.machine import Environment, MachineState
from lab.model.measure import ClockOffset, Event, Sample, Stat, Usage
from lab.model.plan import Budget, Cell, CodeRef, GatePlan, Ladder, Plan, ServicePlan, Threshold
from lab.model.topology import Batching, Edge, Service, Topology
from lab.model.workload import Message, Operation, Request, Response, Shape, Stage

__all__ = [
    "Batching",
    "Budget",
    "Cell",
    "ClockOffset",
    "CodeRef",
    "Edge",
    "Environment",
    "Event",
    "GatePlan",
    "Ladder",
    "MachineState",
    "Message",
    "Operation",
    "Plan",
    "Request",
    "Response",
    "Sample",
    "Service",
    "ServicePlan",
    "Shape",
    "Stage",
    "Stat",
    "Threshold",
    "Topology",
    "Usage",
]
