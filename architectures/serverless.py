"""Functions that scale to zero: what comes before the model, the model, and what comes after it, behind an activator."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lab.model import Budget, Service, Shape, Stage, Topology
from lab.model.wiring import calls, entries, needs

MEMORY_MIB_PER_VCPU = 1769  # AWS Lambda: a function gets vCPU in proportion to its memory
FUNCTIONS = ("intake", "classify", "results")
COLD_START_S = 20.0  # how much longer than the queue's deadline a call between functions may take
ACTIVATOR_MEMORY_MIB = 128
ACTIVATOR_CPUS = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    # MiB of each instance of a function without a model, which also buys its vCPU; a host with Pillow and the clients takes about 90.
    memory_mib: int = 256
    # MiB of each instance of the function that holds the model.
    model_memory_mib: int = 256
    # Instances of one function at the most, each with one request at a time.
    max_instances: int = 2
    # Instances of one function that may be starting at once.
    max_concurrent_starts: int = 1
    # Seconds without a request after which an instance is stopped.
    idle_timeout_s: float = 60.0
    # Seconds that a request may wait for an instance before it is refused with 429.
    queue_deadline_s: float = 10.0


def place(shape: Shape, budget: Budget, options: Options) -> Topology:
    """All functions start at zero and are called through the activator, also by each other. An instance's `cpus` follow from its memory;
    with the default options they add up to less than one vCPU at full scale. On one local core they are quantities to price, not limits."""
    group = _groups(shape.stages)
    functions = tuple(
        _function(name, tuple(s for s in shape.stages if group[s.name] == name), options) for name in FUNCTIONS if name in group.values()
    )
    activator = Service(
        name="activator",
        role="activator",
        billing="managed",
        concurrency=256,
        memory_mib=ACTIVATOR_MEMORY_MIB,
        cpus=ACTIVATOR_CPUS,
    )
    routes = entries(functions, shape.operations)
    return Topology(
        architecture="serverless",
        workload=shape.name,
        model_size=shape.model_size,
        services=(activator, *functions),
        edges=calls(functions, routes, shape.operations, timeout_s=options.queue_deadline_s + COLD_START_S, retries=0),
        routes=routes,
        needs=needs(shape),
        cpus=budget.cpus,
        memory_mib=budget.memory_mib,
    )


def _function(name: str, stages: tuple[Stage, ...], options: Options) -> Service:
    memory_mib = options.model_memory_mib if any(s.uses_model for s in stages) else options.memory_mib
    return Service(
        name=name,
        stages=tuple(s.name for s in stages),
        scaling="to_zero",
        billing="function",
        instances=0,
        max_instances=options.max_instances,
        max_concurrent_starts=options.max_concurrent_starts,
        concurrency=1,
        idle_timeout_s=options.idle_timeout_s,
        queue_deadline_s=options.queue_deadline_s,
        memory_mib=memory_mib,
        cpus=memory_mib / MEMORY_MIB_PER_VCPU,
    )


def _groups(stages: tuple[Stage, ...]) -> dict[str, str]:
    """stage -> function. `classify`: stages that use the model, and those between two such; `results`: stages after the model, and all that
    own the same schema as one of them; `intake`: the rest. A stage right after the model goes to `results` too: one call more than inside
    `classify`, but reads of the same schema then never start, or pay for, a function that loads the model."""
    models = {s.name for s in stages if s.uses_model}
    after = _descendants(stages, models)
    before = {s.name for s in stages if models & _descendants(stages, {s.name})}
    classify = models | (after & before)
    late = after - classify
    schemas = {s.owns for s in stages if s.name in late and s.owns}
    return {s.name: "classify" if s.name in classify else "results" if s.name in late or s.owns in schemas else "intake" for s in stages}


def _descendants(stages: tuple[Stage, ...], of: Collection[str]) -> set[str]:
    """The stages that take, directly or through others, the result of one of `of`."""
    found: set[str] = set()
    while more := {s.name for s in stages if (found | set(of)) & set(s.after)} - found:
        found |= more
    return found
