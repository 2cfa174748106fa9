"""One service per stage, each scaled on its own, called with time-outs and retries; stages that own the same schema are one service."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from lab.model import Budget, Service, Shape, Stage, Topology
from lab.model.wiring import calls, entries, needs


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    # Processes of each service without a model.
    instances: int = 1
    # Processes of each service that uses the model.
    model_instances: int = 1
    # Whether each service runs between that many processes and max_instances, so that each uses about target_cpu of its vCPUs.
    autoscale: bool = False
    # Processes of one service at the most, with autoscale. The budget is divided by it: all of them together get what one has without.
    max_instances: int = 2
    # Part of a process's vCPUs that the scaler aims at, with autoscale.
    target_cpu: float = 0.7
    # Part of the budget's vCPUs for the services that use the model; the others share the rest equally. At size M inference is about half.
    model_cpu_share: float = 0.5
    # Requests that one process without a model works on at once.
    concurrency: int = 16
    # MiB of each process; less where the budget does not hold that much for all of them.
    memory_mib: int = 512
    # Seconds that one try of a call may take.
    timeout_s: float = 5.0
    # Further tries of a call that failed or ran out of time.
    retries: int = 1


def place(shape: Shape, budget: Budget, options: Options) -> Topology:
    """A service is named after its stage, or after the schema that its stages own; an operation enters at the service of its first stage.
    `cpus` add up to the budget, with autoscale when all are scaled out; on one local core they are quantities to price, not limits."""
    groups: dict[str, list[Stage]] = {}
    for stage in shape.stages:
        groups.setdefault(stage.owns or stage.name, []).append(stage)
    models = {name for name, stages in groups.items() if any(s.uses_model for s in stages)}
    plain = len(groups) - len(models)
    model_cpus = budget.cpus * (options.model_cpu_share if plain else 1.0) if models else 0.0
    most = sum(_most(name in models, options) for name in groups)
    services = tuple(
        _service(
            name,
            stages,
            cpus=model_cpus / len(models) if name in models else (budget.cpus - model_cpus) / plain,
            memory_mib=min(options.memory_mib, budget.memory_mib // max(1, most)),
            options=options,
        )
        for name, stages in groups.items()
    )
    routes = entries(services, shape.operations)
    return Topology(
        architecture="microservices",
        workload=shape.name,
        model_size=shape.model_size,
        services=services,
        edges=calls(services, routes, shape.operations, timeout_s=options.timeout_s, retries=options.retries),
        routes=routes,
        needs=needs(shape),
        cpus=budget.cpus,
        memory_mib=budget.memory_mib,
    )


def _instances(uses_model: bool, options: Options) -> int:
    return options.model_instances if uses_model else options.instances


def _most(uses_model: bool, options: Options) -> int:
    return options.max_instances if options.autoscale else _instances(uses_model, options)


def _service(name: str, stages: list[Stage], *, cpus: float, memory_mib: int, options: Options) -> Service:
    """`cpus` of all its processes together; a model takes as many requests at once as it has cores, first come, first served."""
    uses_model = any(s.uses_model for s in stages)
    most = _most(uses_model, options)
    each = cpus / max(1, most)
    return Service(
        name=name,
        stages=tuple(s.name for s in stages),
        scaling="on_cpu" if options.autoscale else "fixed",
        billing="container",
        instances=_instances(uses_model, options),
        max_instances=most,
        concurrency=ceil(each) if uses_model else options.concurrency,
        target_cpu=options.target_cpu,
        memory_mib=memory_mib,
        cpus=each,
    )
