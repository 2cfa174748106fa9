"""The process that keeps one Lab: `python -m lab.providers.embedded.supervisor STATE` starts the platform and serves the control socket."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socketserver
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import cast

import msgspec
import psutil

from lab import cores, spawn
from lab.contracts import Deployment
from lab.errors import InputError, LabError, MachineError
from lab.lock import locked
from lab.model import Budget
from lab.providers.embedded import control, deployments, leftovers, platform
from lab.providers.embedded.control import Added, Answer, Call, Failure, Nothing, Standing, Urls, Usages
from lab.providers.embedded.deployments import Deployed
from lab.providers.embedded.layout import Layout
from lab.rundir import decode
from lab.runtime import naming
from lab.settings import Settings
from lab.spawn import Record

WATCH_S = 0.3
STOP_S = 5.0
OPEN_FILES = 65536


@dataclass(frozen=True, kw_only=True)
class SupervisorConfig:
    """`tell_fd`: a pipe for Told lines until the Lab stands. With an owner (pid and start time) the Lab ends when the owner has."""

    settings: Settings
    lab_id: str
    tell_fd: int
    owner_pid: int | None = None
    owner_created: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Told:
    report: str = ""
    ready: bool = False
    failure: Failure | None = None


class Supervisor:
    def __init__(self, config: SupervisorConfig, layout: Layout) -> None:
        self.config = config
        self.layout = layout
        self.record = Record(path=layout.processes, lab_id=config.lab_id)
        self.keep_data = True
        self.over = threading.Event()
        self._cpus = cores.allowed()
        self._deployed: dict[str, Deployed] = {}
        self._one_at_a_time = threading.Lock()  # deployments come and go one after the other
        self._platform: platform.Platform | None = None

    # ---- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._platform = platform.run(self.config.settings, self.layout, self.record, lambda text: self.tell(Told(report=text)))
        for left in sorted(p.name for p in (self.layout.state / "deployments").iterdir()):
            deployments.erase(left, self.layout, self._platform)  # of a supervisor that was killed
        self._separate(Budget().cpus)

    def tell(self, told: Told) -> None:
        """Raises BrokenPipeError when whoever called `up` is gone: then nobody wants this Lab."""
        os.write(self.config.tell_fd, msgspec.json.encode(told) + b"\n")

    def watch(self) -> None:
        """Until told to end, or the owner has ended, or the Lab's folder is gone."""
        while not self.over.wait(WATCH_S):
            if self.orphaned() or not self.layout.control.exists():
                return

    def orphaned(self) -> bool:
        owner = self.config.owner_pid
        return owner is not None and spawn.running(owner, self.config.owner_created) is None

    def stop(self) -> None:
        """Everything, whatever state it is in; the last word belongs to the search by tag."""
        grace_s = STOP_S if self.keep_data else 0.0
        standing = self._platform
        for deployed in list(self._deployed.values()):
            with contextlib.suppress(LabError):  # a broken platform cannot forget its buckets; the next start does
                deployed.routed = False
                deployed.retire()
        if standing is not None:
            standing.stop(grace_s)
        spawn.end(spawn.of_lab(self.layout.state), grace_s)

    def erase(self) -> None:
        """After the stop, for an owner that cannot do it any more. A command that is at work on the Lab decides itself what stays."""
        with contextlib.suppress(MachineError), locked(self.layout.lock, timeout_s=0):
            leftovers.sweep(self.layout, grace_s=0)
            leftovers.erase(self.layout)

    # ---- verbs ---------------------------------------------------------------------------------------------------------

    @property
    def platform(self) -> platform.Platform:
        if self._platform is None:
            raise MachineError("the platform has not started yet", "wait for `lab up`")
        return self._platform

    def status(self, _: Nothing) -> Standing:
        own = psutil.Process()
        return Standing(
            lab_id=self.config.lab_id,
            pid=own.pid,
            created=own.create_time(),
            endpoints=self.platform.endpoints,
            down=tuple(self.platform.down()),
            deployments=tuple(self._deployed),
            runs_code=True,
        )

    def deploy(self, request: control.DeployRequest) -> Deployment:
        naming.check_name(request.deployment)
        with self._one_at_a_time:
            self.platform.check()
            if request.deployment in self._deployed:
                raise InputError(f"deployment {request.deployment!r} stands already", "retire it first, or choose another id")
            deployed = Deployed(request, self.layout, self.record, self.platform, self._separate(request.topology.cpus))
            self._deployed[request.deployment] = deployed
            try:
                made = deployed.start(self.config.settings.start_timeout_s)
            except BaseException:
                self._retire(request.deployment)
                raise
            for other in self._deployed.values():
                other.routed = other is deployed
            return made

    def retire(self, request: control.RetireRequest) -> Nothing:
        with self._one_at_a_time:
            self._retire(request.deployment)
        return Nothing()

    def _retire(self, deployment: str) -> None:
        deployed = self._deployed.pop(deployment, None)
        if deployed is not None:
            deployed.retire()

    def usage(self, _: Nothing) -> Usages:
        self.platform.check()
        used = list(self.platform.usage())
        for deployed in list(self._deployed.values()):
            used += deployed.usage()
        return Usages(usages=tuple(used))

    def get(self, request: control.ReplicaRequest) -> Urls:
        return Urls(urls=self._of(request.deployment).urls(request.service))

    def set(self, request: control.ReplicaRequest) -> Nothing:
        self._of(request.deployment).set(request.service, request.count, self.config.settings.start_timeout_s)
        return Nothing()

    def add(self, request: control.ReplicaRequest) -> Added:
        instance = self._of(request.deployment).add(request.service, self.config.settings.start_timeout_s)
        return Added(url=instance.url, phases_ms=instance.phases_ms)

    def remove(self, request: control.ReplicaRequest) -> Nothing:
        self._of(request.deployment).remove(request.service, request.url)
        return Nothing()

    def inject(self, request: control.FaultRequest) -> Nothing:
        self._of(request.deployment).inject(request.service, request.fault, request.duration_s)
        return Nothing()

    def shutdown(self, request: control.ShutdownRequest) -> Nothing:
        self.keep_data = request.keep_data
        self.over.set()
        return Nothing()

    def _of(self, deployment: str) -> Deployed:
        if deployment not in self._deployed:
            raise InputError(f"there is no deployment {deployment!r}", f"standing: {', '.join(self._deployed) or 'none'}")
        return self._deployed[deployment]

    def _separate(self, cpus: float) -> tuple[int, ...]:
        """Gives the architecture its cores and moves platform and supervisor to the others; the architecture's CPU numbers."""
        if not self._cpus:
            return ()
        split = cores.share(self._cpus, cpus)
        self.platform.pin(split.rest)
        spawn.pin([psutil.Process()], split.rest)
        return split.system


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    supervisor: Supervisor


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        verb = "read"
        try:
            verb, request = _request(self.rfile.readline())
            result = getattr(cast(_Server, self.server).supervisor, verb)(request)
            self._send(Answer(result=msgspec.Raw(msgspec.json.encode(result))))
        except LabError as error:
            self._send(Answer(failure=Failure.of(error)))
        except Exception as error:  # the server writes the traceback to our log
            what = f"the supervisor failed at {verb!r}: {type(error).__name__}: {error}"
            self._send(Answer(failure=Failure(kind="MachineError", what=what, hint="`lab logs supervisor` shows where")))
            raise

    def _send(self, answer: Answer) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # whoever asked is gone
            self.wfile.write(msgspec.json.encode(answer) + b"\n")


def _request(line: bytes) -> tuple[str, object]:
    """The verb and its typed request."""
    try:
        call = msgspec.json.decode(line, type=Call)
        if call.verb not in control.REQUESTS:
            raise InputError(f"the supervisor knows no verb {call.verb!r}", f"it knows {', '.join(control.REQUESTS)}")
        return call.verb, msgspec.json.decode(call.request, type=control.REQUESTS[call.verb])
    except msgspec.DecodeError as error:
        raise InputError(f"the supervisor cannot read the request: {error}", "is it of another version?") from error


class _Terminated(BaseException):
    """SIGTERM or SIGINT, in the main thread."""


def _terminate(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # stopping takes its time, and once is enough
    raise _Terminated


def serve(config: SupervisorConfig, layout: Layout) -> int:
    supervisor = Supervisor(config, layout)
    layout.control.unlink(missing_ok=True)
    with _Server(str(layout.control), _Handler) as server:
        server.supervisor = supervisor
        try:
            supervisor.start()
            threading.Thread(target=server.serve_forever, name="control", kwargs={"poll_interval": WATCH_S}, daemon=True).start()
            supervisor.tell(Told(ready=True))
            os.close(config.tell_fd)
            supervisor.watch()
        except LabError as error:
            with contextlib.suppress(BrokenPipeError):
                supervisor.tell(Told(failure=Failure.of(error)))
            return error.exit_code
        except (_Terminated, BrokenPipeError):
            return 0
        finally:
            orphaned = supervisor.orphaned()
            supervisor.keep_data &= not orphaned
            supervisor.stop()
            layout.control.unlink(missing_ok=True)
            if orphaned:
                supervisor.erase()
    return 0


def _set_limits() -> None:
    """For us and all that we start: no core dumps, and as many files and connections as we may have."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES), hard))


def main(argv: list[str]) -> int:
    layout = Layout(Path(argv[1]))
    _set_limits()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)
    path = layout.state / "supervisor.json"
    config = decode(path.read_bytes(), SupervisorConfig, str(path))
    began = time.monotonic()
    code = serve(config, layout)
    sys.stdout.write(f"ended with {code} after {time.monotonic() - began:.0f} s\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
