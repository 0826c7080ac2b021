"""How much memory the servers use over time, and whether it grows."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

from scripts.soak.processes import Server, process_tree

SAMPLE_SECONDS = 2.0

WARM_UP = 0.3
"""The share of a run that is not judged: caches fill, and workers get their first sockets."""

MOST_GROWTH = 0.15
"""By how much the memory may grow in ten minutes, by the trend of the samples."""

SMALL_GROWTH = 10 << 20
"""Bytes in ten minutes that are no growth: a Redis that lost its data begins at a few megabytes."""

TEN_MINUTES = 600.0

JUDGED_SECONDS = 120.0
"""Shorter stretches show no trend."""

MEGABYTE = 1 << 20


def proportional_memory(pid: int) -> int:
    """The bytes of a process: of pages that it shares, its part (PSS). 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    sizes = (line.split()[1] for line in lines if line.startswith(("Pss:", "SwapPss:")))
    return 1024 * sum(map(int, sizes))


@dataclass
class Series:
    """The memory of a server with all its processes."""

    name: str
    times: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Bytes."""
    processes: list[int] = field(default_factory=list)

    def growth(self) -> float | None:
        """The trend after the warm-up: bytes in ten minutes. None if that is too short to tell."""
        if not self.times:
            return None
        start = self.times[0] + WARM_UP * (self.times[-1] - self.times[0])
        points = [p for p in zip(self.times, self.sizes, strict=True) if p[0] >= start]
        if len(points) < 3 or points[-1][0] - points[0][0] < JUDGED_SECONDS:
            return None
        return slope(points) * TEN_MINUTES

    @property
    def is_flat(self) -> bool:
        growth = self.growth()
        return growth is None or growth <= max(SMALL_GROWTH, MOST_GROWTH * median(self.sizes))

    def typical(self, first: bool) -> int:
        """The median of the first or the last tenth of the samples."""
        count = max(1, len(self.sizes) // 10)
        return int(median(self.sizes[:count] if first else self.sizes[-count:]))


def slope(points: list[tuple[float, int]]) -> float:
    """The median of the slopes between all pairs of points (Theil and Sen).

    Outliers, such as the seconds in which a worker is replaced, do not change it.
    """
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for index, earlier in enumerate(points)
        for later in points[index + 1 :]
        if later[0] > earlier[0]
    ]
    return median(slopes) if slopes else 0.0


class Sampler:
    """Samples the memory of servers in a thread, for the length of a block."""

    def __init__(self, servers: list[Server]) -> None:
        self._servers = servers
        self.series = {server.name: Series(server.name) for server in servers}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(SAMPLE_SECONDS):
            for server in self._servers:
                process = server.process
                if process is None:
                    continue  # it is killed at the moment
                sizes = [proportional_memory(pid) for pid in process_tree(process.pid)]
                if not sizes or not sizes[0]:
                    continue
                series = self.series[server.name]
                series.times.append(time.monotonic())
                series.sizes.append(sum(sizes))
                series.processes.append(len(sizes))
