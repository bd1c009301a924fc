"""`make bench`: every benchmark, each a ratio within one run."""

from __future__ import annotations

import sys

from benchmarks import spine_bench, stats_j6, stats_speed, streams


def main() -> None:
    """Arithmetic, J6 to J8, the spine, a stream against copies; arguments go to the spine's benchmark."""
    print("# arithmetic against tea-tasting", flush=True)
    stats_speed.main()
    print("# J6 to J8, from the statistics table to the decision", flush=True)
    stats_j6.main()
    print("# the spine against DuckDB on the same Parquet files", flush=True)
    spine_bench.main()
    print("# one stream for two experiments, against a copy for each and DuckDB", flush=True)
    streams.main(["--experiments", "2", "--copies", "2"])


if __name__ == "__main__":
    sys.exit(main())
