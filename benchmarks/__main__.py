"""`make bench`: every measurement, one after the other, each beside its peer.

`python -m benchmarks pipeline journal` runs only those named.
"""

from __future__ import annotations

import subprocess
import sys

ALL = ("pipeline", "journal", "mqtt_session")


def main() -> int:
    names = sys.argv[1:] or ALL
    unknown = set(names) - set(ALL)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are: {', '.join(ALL)}")
        return 2
    failed = [
        name
        for name in names
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
    ]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
