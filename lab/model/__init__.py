"""All nouns of the lab: frozen, keyword-only, units in the names; no behaviour beyond what their own fields decide."""

from lab.model.machine import Environment, MachineState
from lab.model.measure import ClockOffset, Event, Probe, Sample, Stat, Usage
from lab.model.plan import Budget, Cell, CodeRef, EnvironmentPlan, GatePlan, Load, Plan, Search, ServicePlan, Threshold, TimedFault, Trace
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
    "EnvironmentPlan",
    "Event",
    "GatePlan",
    "Load",
    "MachineState",
    "Message",
    "Operation",
    "Plan",
    "Probe",
    "Request",
    "Response",
    "Sample",
    "Search",
    "Service",
    "ServicePlan",
    "Shape",
    "Stage",
    "Stat",
    "Threshold",
    "TimedFault",
    "Topology",
    "Trace",
    "Usage",
]
