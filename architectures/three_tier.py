"""Three tiers behind the gateway: an application that serves page and operations, a model server, and the platform as the data tier."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from lab.model import Batching, Budget, Service, Shape, Topology
from lab.model.wiring import calls, needs


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    # Messages that one inference may take together; 0 runs each by itself. Costs up to batch_delay_ms at low rates, saves CPU at high ones.
    batch_max: int = 0
    # Milliseconds that the first message of a batch may wait for others.
    batch_delay_ms: float = 2.0
    # Requests that the application works on at once; most of that time it waits for the model or for the data tier.
    app_concurrency: int = 16
    # Processes of the model tier, sharing its part of the budget.
    model_instances: int = 1
    # The model tier's part of the budget's vCPUs, the rest is the application's; at size M inference is about half of a request.
    model_cpu_share: float = 0.5
    # Whether the model tier runs between model_instances and max_instances, so that each process uses about target_cpu of its vCPUs. The
    # application stays one: it is where operations enter and waits most of the time.
    autoscale: bool = False
    # Processes of the model tier at the most, with autoscale; its part of the budget is divided by it.
    max_instances: int = 2
    # Part of a model process's vCPUs that the scaler aims at, with autoscale.
    target_cpu: float = 0.7
    # MiB of the application.
    app_memory_mib: int = 512
    # MiB of each model process.
    model_memory_mib: int = 1024


def place(shape: Shape, budget: Budget, options: Options) -> Topology:
    """Stages that use the model go to `model`, all others to `app`, which every operation enters. `cpus` add up to the budget; on one local
    core they are quantities to price, not limits."""
    model_stages = tuple(s for s in shape.stages if s.uses_model)
    share = options.model_cpu_share if model_stages else 0.0
    app = Service(
        name="app",
        stages=tuple(s.name for s in shape.stages if not s.uses_model),
        billing="vm",
        concurrency=options.app_concurrency,
        memory_mib=options.app_memory_mib,
        cpus=budget.cpus * (1 - share),
        page=True,
    )
    services: tuple[Service, ...] = (app,)
    if model_stages:
        services += (_model(tuple(s.name for s in model_stages), any(s.batchable for s in model_stages), budget.cpus * share, options),)
    routes = {op.name: "app" for op in shape.operations}
    return Topology(
        architecture="three_tier",
        workload=shape.name,
        model_size=shape.model_size,
        services=services,
        edges=calls(services, routes, shape.operations, timeout_s=10.0, retries=0),
        routes=routes,
        needs=needs(shape),
        cpus=budget.cpus,
        memory_mib=budget.memory_mib,
    )


def _model(stages: tuple[str, ...], batchable: bool, cpus: float, options: Options) -> Service:
    """First come, first served: as many inferences at once as it has cores, or one full batch."""
    batching = Batching(max_size=options.batch_max, max_delay_ms=options.batch_delay_ms) if batchable and options.batch_max > 1 else None
    most = options.max_instances if options.autoscale else options.model_instances
    each = cpus / max(1, most)
    cores = ceil(each)
    return Service(
        name="model",
        stages=stages,
        scaling="on_cpu" if options.autoscale else "fixed",
        billing="vm",
        instances=options.model_instances,
        max_instances=most,
        concurrency=max(cores, 2 * options.batch_max) if batching else cores,
        target_cpu=options.target_cpu,
        memory_mib=options.model_memory_mib,
        cpus=each,
        batching=batching,
    )
