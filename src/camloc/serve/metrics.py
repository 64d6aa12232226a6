"""Counts of a service in the text format of Prometheus."""

import threading
from collections import Counter
from pathlib import Path

# Upper bounds of the histogram of times, in seconds.
_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counts requests and their times; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._answers: Counter[str] = Counter()
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0

    def request(self, route: str, status: int) -> None:
        """Count an answered request."""
        with self._lock:
            self._requests[route, status] += 1

    def answer(self, kind: str, seconds: float) -> None:
        """Count an estimate: "verified", "unverified" or "lost"."""
        with self._lock:
            self._answers[kind] += 1
            self._seconds += seconds
            self._buckets[sum(seconds > bound for bound in _BOUNDS)] += 1

    def text(self, **gauges: float) -> str:
        """All counts, and gauges by their names."""
        with self._lock:
            lines = [
                "# HELP camloc_requests_total Requests that were answered.",
                "# TYPE camloc_requests_total counter",
                *(
                    f'camloc_requests_total{{route="{route}",status="{status}"}} {count}'
                    for (route, status), count in sorted(self._requests.items())
                ),
                "# HELP camloc_estimates_total Images that were located or lost.",
                "# TYPE camloc_estimates_total counter",
                *(
                    f'camloc_estimates_total{{kind="{kind}"}} {count}'
                    for kind, count in sorted(self._answers.items())
                ),
                "# HELP camloc_locate_seconds Time from request to answer.",
                "# TYPE camloc_locate_seconds histogram",
            ]
            total = 0
            for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._buckets, strict=True):
                total += count
                lines.append(f'camloc_locate_seconds_bucket{{le="{bound}"}} {total}')
            lines += [
                f"camloc_locate_seconds_sum {self._seconds:.6f}",
                f"camloc_locate_seconds_count {total}",
            ]
        for name, value in gauges.items():
            lines += [f"# TYPE camloc_{name} gauge", f"camloc_{name} {value:g}"]
        if (resident := resident_bytes()) is not None:
            lines += [
                "# TYPE process_resident_memory_bytes gauge",
                f"process_resident_memory_bytes {resident}",
            ]
        return "\n".join(lines) + "\n"


def resident_bytes() -> int | None:
    """The memory of this process, or None where the system does not report it."""
    try:
        fields = Path("/proc/self/status").read_text()
        return 1024 * int(fields.partition("VmRSS:")[2].split()[0])
    except (OSError, ValueError, IndexError):
        return None
