"""What services consumed over all their pods: from readings of pods that come, restart and go to counters that never fall; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lab.runtime.consumption import Consumption, Reading

Key = tuple[str, str]  # deployment ("" for the platform), service


@dataclass
class Account:
    """Of one service. `living`: pod -> its last reading."""

    gone: Consumption = field(default_factory=Consumption)
    living: dict[str, Consumption] = field(default_factory=dict)

    def total(self) -> Consumption:
        found = self.gone
        for each in self.living.values():
            found = found.plus(each)
        return found

    def close(self, pod: str) -> None:
        last = self.living.pop(pod)
        self.gone = self.gone.plus(replace(last, memory_mib=0.0))


class Accounts:
    """Not for several threads at once."""

    def __init__(self) -> None:
        self._accounts: defaultdict[Key, Account] = defaultdict(Account)

    def update(self, key: Key, readings: Mapping[str, Reading | None]) -> Consumption:
        """The total after these readings, by pod: all pods that the service has; None for one that did not answer, whose last reading
        then stands. A counter that fell is that of a restarted container."""
        account = self._accounts[key]
        for pod in account.living.keys() - readings.keys():
            account.close(pod)
        for pod, reading in readings.items():
            if reading is None:
                continue
            if pod in account.living and reading.cpu_s < account.living[pod].cpu_s:
                account.close(pod)
            account.living[pod] = Consumption(
                cpu_s=reading.cpu_s, memory_mib=reading.memory_mib, bytes_read=reading.bytes_read, bytes_written=reading.bytes_written
            )
        return account.total()

    def forget(self, deployment: str) -> None:
        for key in [k for k in self._accounts if k[0] == deployment]:
            del self._accounts[key]
