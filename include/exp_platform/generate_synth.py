"""Generate an experiment's synthetic raw events.

python -m exp_platform.generate_synth --config configs/dev.yaml --experiment-id ID [--seed N]
    [--fault NAME[:SIZE[:DAYS]]] ...
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from exp_platform.config.load import load_project
from exp_platform.pipelines.job import Parser, add_synth_arguments, exit_with
from exp_platform.synth.generate import generate, plan_of, sentence
from exp_platform.synth.planted_faults import FAULTS, parse_fault


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, generate the events, and print what was written."""
    known = "\n".join(f"  {name:36} {kind.what} Default size {kind.size:g}." for name, kind in FAULTS.items())
    parser = Parser(prog="generate_synth", description=__doc__, epilog=f"faults:\n{known}", allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--config", default=None, help="profile; default $EXP_CONFIG, else configs/dev.yaml")
    parser.add_argument("--experiment-id", required=True)
    add_synth_arguments(parser)
    try:
        arguments = parser.parse_args(argv)
        project = load_project(arguments.config)
        plan = plan_of(project, arguments.experiment_id, arguments.seed, map(parse_fault, arguments.fault))

        def session():  # type: ignore[no-untyped-def]
            from exp_platform.spark.session import build_spark_session

            return build_spark_session(f"generate_synth {plan.experiment_id}", project)

        print(sentence(generate(project, plan, session)), flush=True)
    except Exception as error:
        exit_with(error)


if __name__ == "__main__":
    main(sys.argv[1:])
