"""What ``import dogpile.cache`` takes, and what it brings in."""

from __future__ import annotations

import statistics
import subprocess
import sys

from measure import CLASSIC, OURS, Effort, Figure, Limit, Readings, Row, at_most

_RUNS = 15
#: What nobody pays for who does not use it.
UNWANTED = (
    "asyncio",
    "sqlite3",
    "dbm",
    "importlib.metadata",
    "ssl",
    # client libraries
    "bmemcached",
    "memcache",
    "pylibmc",
    "pymemcache",
    "redis",
    "valkey",
    # frameworks, and what codecs and exporters are made of
    "cryptography",
    "django",
    "flask",
    "jinja2",
    "lz4",
    "mako",
    "msgpack",
    "opentelemetry",
    "prometheus_client",
    "rich",
    "zstandard",
)
# Beside what the interpreter has imported for itself when it started.
_TIMED = """
from time import perf_counter
import sys
before = set(sys.modules)
began = perf_counter()
import dogpile.cache
seconds = perf_counter() - began
print(seconds, *(set(sys.modules) - before))
"""
# As most programs begin: the region is made when the module is imported.
_USED = _TIMED.replace(
    "import dogpile.cache\n",
    "from dogpile.cache import make_region\n"
    "make_region().configure('dogpile.cache.memory')\n",
)


def _timed(source: str) -> tuple[float, list[str]]:
    ran = subprocess.run(
        [sys.executable, "-I", "-c", source], capture_output=True, text=True, check=True
    )
    seconds, *names = ran.stdout.split()
    return float(seconds), names


def imports(effort: Effort) -> Readings:
    """Measure the import, alone and with a first region, in new processes."""
    runs = effort.times(_RUNS)
    _timed(_USED)  # compiles what was not yet
    alone = [_timed(_TIMED) for _ in range(runs)]
    used = [_timed(_USED) for _ in range(runs)]
    names = used[0][1]
    unwanted = [name for name in UNWANTED if name in names]
    return {
        "import dogpile.cache": {OURS: statistics.median(s for s, _ in alone)},
        "import, and a first region": {OURS: statistics.median(s for s, _ in used)},
        "unwanted modules": {OURS: float(len(unwanted))},
        "modules": {OURS: float(len(names))},
    }


FIGURES = (
    Figure(
        "imports",
        "Importing",
        (
            Row("import dogpile.cache", "ms", (Limit(0.25, CLASSIC),), CLASSIC),
            Row("import, and a first region", "ms", (Limit(1.0, CLASSIC),), CLASSIC),
            Row("unwanted modules", "modules", at_most(0), CLASSIC),
            Row("modules", "modules", (), CLASSIC),
        ),
        imports,
    ),
)
