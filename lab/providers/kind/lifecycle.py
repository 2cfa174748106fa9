"""The cluster of one Lab: made, started, stopped, deleted; what it will be is written before it is made, so that a kill loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from lightkube.resources.core_v1 import Node

from lab import gpus, ports, rundir, spawn
from lab.errors import MachineError
from lab.providers.kind import config, diagnosis, nodes
from lab.providers.kind.diagnosis import PortTaken
from lab.providers.kind.nodes import Nodes
from lab.providers.kubernetes.cluster import Cluster as Api
from lab.settings import Settings
from lab.spawn import Command, Process, Record

CREATE_S = 900.0  # with the download of a node image
DELETE_S = 120.0
START_S = 120.0
SETTLE_S = 2.0  # in which an engine finishes what a killed client had asked for
POLL_S = 0.1
Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Intent:
    """kind.json. `ports`: service -> port of this machine. `order`: nodes by their addresses, once they have some. `made`: it was made
    to the end."""

    name: str
    ports: Mapping[str, int] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    made: bool = False


class Cluster:
    """Of the Lab in `settings.state`, whether it exists or not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.name = config.cluster_name(settings)
        self.kubeconfig = config.kubeconfig(settings.state)
        self.context = config.context(self.name)

    @property
    def _intent_path(self) -> Path:
        return self._settings.state / "kind.json"

    def intent(self) -> Intent:
        path = self._intent_path
        return rundir.decode(path.read_bytes(), Intent, str(path)) if path.is_file() else Intent(name=self.name)

    def _intend(self, intent: Intent) -> None:
        rundir.write(self._intent_path, rundir.encode(intent))

    @cached_property
    def nodes(self) -> Nodes:
        return Nodes(self.name)

    def running(self) -> bool:
        return self.intent().made and self.kubeconfig.is_file() and self.nodes.running()

    # ---- up and down ---------------------------------------------------------------------------------------------------

    def complete(self) -> bool:
        """Whether it was made to the end, and is there. Raises MachineError where only some nodes are."""
        intent, there = self.intent(), set(self.nodes.names())
        if not intent.made or not there or not self.kubeconfig.is_file():
            return False
        if lost := set(intent.order) - there:
            what = f"the cluster {self.name} has lost {', '.join(sorted(lost))}: somebody deleted it"
            raise MachineError(what, "`lab clean` removes the rest and its data, then `lab up`")
        return True

    def stand(self, report: Report) -> bool:
        """Its nodes run; whether it was made now."""
        made = not self.complete()
        if made:
            self._create(report)
        elif not self.nodes.running():
            report(f"starting the nodes of {self.name}")
            self.nodes.start(self.intent().order)
        self._intend(replace(self.intent(), order=self.nodes.by_address(), made=True))
        return made

    def _create(self, report: Report) -> None:
        """One more try with other ports when one was taken meanwhile. After a failure no node is left."""
        report(f"making the cluster {self.name} with {1 + self._settings.kind_workers} nodes")
        for last in (False, True):
            chosen = dict(zip(config.NODE_PORTS, ports.free(len(config.NODE_PORTS)), strict=True))
            self._intend(Intent(name=self.name, ports=chosen))
            try:
                self._run_create(chosen)
                return
            except PortTaken as error:
                self.delete()
                if last:
                    raise
                report(f"{error.what.splitlines()[0]} trying once more with others")
            except BaseException:
                self.delete()
                raise

    def _run_create(self, chosen: Mapping[str, int]) -> None:
        path = self._settings.state / "kind.yaml"
        with_gpus = gpus.by_default(nodes.info())
        rundir.write(path, config.render(self._settings, chosen, with_gpus=with_gpus).encode())
        process = self._kind("create", "cluster", "--name", self.name, "--config", str(path), "--kubeconfig", str(self.kubeconfig))
        try:
            code = process.wait(CREATE_S)
        finally:
            process.stop(grace_s=0)
        if code != 0:
            raise diagnosis.failure(process.command.log.read_text(errors="replace"), self._settings.kind_image)
        self.kubeconfig.chmod(0o600)

    def _kind(self, *arguments: str) -> Process:
        """Recorded and tagged as a process of the Lab: a kill of ours leaves one that `destroy` finds."""
        state = self._settings.state
        log = state / "logs" / "kind.log"
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        record = Record(path=state / "processes.jsonl", lab_id=spawn.new_lab_id(state))
        return spawn.start(Command(argv=["kind", *arguments], service="kind", log=log, env={"KIND_EXPERIMENTAL_PROVIDER": None}), record)

    def await_nodes(self, timeout_s: float = START_S) -> None:
        """Until the API answers and all nodes are ready. Raises MachineError that names those that are not, and why."""
        api = Api(self.kubeconfig, self.context, "default")
        deadline = time.monotonic() + timeout_s
        while why := _why_not(api):
            if time.monotonic() > deadline:
                what = f"the nodes of {self.name} do not get ready within {timeout_s:.0f} s: {why}"
                raise MachineError(what, "`docker logs NODE` says more; `lab clean`, then `lab up` makes them anew")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Its data stays in the nodes."""
        self.nodes.stop()

    # ---- deletion ------------------------------------------------------------------------------------------------------

    def sweep(self) -> tuple[str, ...]:
        """Ends what a killed command left running, then deletes."""
        unfinished = spawn.of_lab(self._settings.state)
        spawn.end(unfinished, grace_s=0)
        removed = [*(f"process {p.pid}" for p in unfinished), *self.delete()]
        deadline = time.monotonic() + (SETTLE_S if unfinished else 0.0)
        while time.monotonic() < deadline:
            removed += self.delete()
            time.sleep(POLL_S)
        return tuple(dict.fromkeys(removed))

    def delete(self) -> tuple[str, ...]:
        """Its nodes, however far they came and whoever made them; names what it removed."""
        removed = self.nodes.remove()
        for path in (self._intent_path, self.kubeconfig, self._settings.state / "kind.yaml"):
            path.unlink(missing_ok=True)
        return removed


def _why_not(api: Api) -> str:
    """Empty when the API answers and tells of ready nodes only."""
    try:
        return "; ".join(filter(None, map(_not_ready, api.nodes())))
    except MachineError as error:
        return error.what


def _not_ready(node: Node) -> str:
    """Why it is not; empty for a ready one."""
    name = (node.metadata.name if node.metadata else None) or "a node"
    for condition in (node.status.conditions if node.status else None) or []:
        if condition.type == "Ready":
            return "" if condition.status == "True" else f"{name}: {condition.message or condition.reason}"
    return f"{name}: has told nothing yet"
