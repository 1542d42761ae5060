"""medseg methods"""

from __future__ import annotations

import argparse

from medseg.cli.exits import EXIT_DONE

NAME = "methods"
HELP = "the methods of each task, with what they are"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("task", nargs="?")


def run(options: argparse.Namespace) -> int:
    from medseg.bundle import method_names, open_bundle, read_method, tasks

    for task in [options.task] if options.task else tasks():
        bundle = open_bundle(task)
        for method in (read_method(bundle, name) for name in method_names(bundle)):
            learnt = ("trained" if method.is_trained else "not trained") if method.weights else "no weights"
            about = [
                method.kind,
                f"{method.dimensions}D",
                learnt,
                *(["the default"] if method.is_default else []),
            ]
            print(f"{bundle.task:<18} {method.name:<16} {', '.join(about)}: {method.summary}")
    return EXIT_DONE
