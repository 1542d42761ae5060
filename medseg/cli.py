"""The command `medseg`. Heavy imports wait until a command needs them, so that --help is instant."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg import __version__
from medseg.errors import MedsegError, UsageError, error_text
from medseg.terminal import strict_json, survive_any_encoding

if TYPE_CHECKING:
    from medseg.io import Input
    from medseg.pipeline import Segmenter

EXIT_DONE, EXIT_OTHER, EXIT_USAGE, EXIT_ALL_REJECTED, EXIT_SOME_REJECTED, EXIT_WORSE = 0, 1, 2, 3, 4, 5
EXIT_WARNED = 6
_EVALUATION = ["train.yaml", "evaluate.yaml"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 1 other, 2 usage, 3 all and 4 some inputs rejected, 5 the second of two runs is worse,
    6 an inspected input can be used but is odd.
    """
    survive_any_encoding()
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("medseg").setLevel(logging.INFO)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except MedsegError as error:
        print(f"medseg: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("medseg: stopped", file=sys.stderr)
        return EXIT_OTHER
    except OSError as error:
        came = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        print(
            f"medseg: required: files that can be read and written; came: {came}. "
            "Check the path, the rights and the free space.",
            file=sys.stderr,
        )
        return EXIT_OTHER


def _segment(options: argparse.Namespace) -> int:
    from medseg.bundle import import_monai_without
    from medseg.io import case_names, search_inputs
    from medseg.io.atomic import require_folder
    from medseg.outputs import check_formats

    check_formats(options.formats)
    found = search_inputs(options.input)
    inputs = found.inputs
    overrides = _overrides(options.set)
    names = case_names(inputs).values()
    for name in names:
        require_folder(Path(options.output, name))
    import_monai_without("jsonschema", "matplotlib", "mlflow", "pandas")
    from tqdm import tqdm

    from medseg.pipeline import Segmenter

    segmenter = Segmenter(
        options.task, options.device, overrides, options.method, options.mode, options.weights, options.fold
    )
    rejected, asked_for = len(found.empty), len(found.empty) + len(inputs)
    for source, name in tqdm(zip(inputs, names, strict=True), unit="case", disable=len(inputs) == 1 or None):
        rejected += not _segment_one(segmenter, source, Path(options.output, name), options)
    if rejected:
        print(f"medseg: {rejected} of {asked_for} rejected", file=sys.stderr)
        return EXIT_ALL_REJECTED if rejected == asked_for else EXIT_SOME_REJECTED
    return EXIT_DONE


def _segment_one(segmenter: Segmenter, source: Input, directory: Path, options: argparse.Namespace) -> bool:
    """Segment and save one case, and say how it went; whether there is a result."""
    from tqdm import tqdm

    from medseg.pipeline import shown

    spacing = (options.pixel_spacing_mm,) * 2 if options.pixel_spacing_mm else None
    try:
        result = segmenter(source, spacing)
        result.save(directory, options.formats)
    except OSError:
        raise  # a full or broken disk: the next case would fail too
    except Exception as error:
        is_whole = (directory / "measurements.json").exists()
        earlier = " An earlier result in its folder was left as it was." if is_whole else ""
        tqdm.write(f"{shown(source)}: {error_text(error)}{earlier}", file=sys.stderr)
        return False
    for warning in result.warnings:
        tqdm.write(f"{shown(source)}: warning: {warning}", file=sys.stderr)
    tqdm.write(str(directory))
    return True


def _inspect(options: argparse.Namespace) -> int:
    from medseg.quality import inspect

    report = inspect(Path(options.path), options.modality)
    print(strict_json(report.record()) if options.json else report)
    return {"pass": EXIT_DONE, "warn": EXIT_WARNED, "reject": EXIT_ALL_REJECTED}[report.verdict]


def _train(options: argparse.Namespace) -> int:
    overrides = _overrides(options.set)
    overrides |= _given(options, "epochs", "output_dir", "resume", manifests="manifest")

    from medseg.bundle import open_bundle, training_files

    bundle = open_bundle(options.task)
    files = training_files(bundle, options.method)
    if options.folds is None:
        return _run(options.task, files, overrides)

    from medseg.training.folds import cross_validate

    cross_validate(bundle, files, options.folds, overrides)
    return EXIT_DONE


def _evaluate(options: argparse.Namespace) -> int:
    from medseg.bundle import inference_keys, open_bundle

    overrides = _overrides(options.set)
    overrides |= _given(options, "split", "output_dir", "method", manifests="manifest", weights_fold="fold")
    bundle = open_bundle(options.task)
    overrides = inference_keys(bundle, _EVALUATION, overrides)
    if not options.weights:
        return _run(options.task, _EVALUATION, overrides)
    if len(options.weights) == 1:
        return _run(options.task, _EVALUATION, overrides | {"weights": options.weights[0]})
    return _evaluate_several(options, overrides)


def _evaluate_several(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    """Score several weights in folders of their own, and compare each with the first.

    Returns EXIT_WORSE if any is worse than the first.
    """
    from medseg.training.comparison import compare_runs

    output = Path(options.output_dir or "out/evaluation")
    folders = [output / f"weights_{number}" for number in range(1, len(options.weights) + 1)]
    for weights, folder in zip(options.weights, folders, strict=True):
        own = {"weights": weights, "output_dir": str(folder)}
        _run(options.task, _EVALUATION, overrides | own)
    code = EXIT_DONE
    for number, folder in enumerate(folders[1:], start=2):
        comparison = compare_runs(str(folders[0]), str(folder), output / f"1_against_{number}")
        print(comparison)
        code = EXIT_WORSE if comparison.verdict == "worse" else code
    return code


def _run(task: str, files: list[str], overrides: dict[str, Any]) -> int:
    from medseg.bundle import open_bundle, run_workflow

    run_workflow(open_bundle(task), *files, overrides=overrides)
    return EXIT_DONE


def _compare_runs(options: argparse.Namespace) -> int:
    from medseg.training.comparison import compare_runs

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    comparison = compare_runs(options.first, options.second, Path(options.output), options.score)
    print(comparison)
    return EXIT_WORSE if comparison.verdict == "worse" else EXIT_DONE


def _sync(options: argparse.Namespace) -> int:
    from medseg.training.tracking import deliver, mark_killed_runs

    mark_killed_runs()
    if deliver(Path(options.folder)):
        print(f"{options.folder}: the tracking server has everything")
        return EXIT_DONE
    print(f"medseg: {options.folder}: the tracking server can't be reached; nothing is lost", file=sys.stderr)
    return EXIT_OTHER


def _check_data(options: argparse.Namespace) -> int:
    from medseg.training.manifests import check_manifest

    problems = check_manifest(options.manifest)
    for problem in problems:
        print(problem)
    print(f"{options.manifest}: {len(problems)} findings" if problems else f"{options.manifest}: sound")
    return EXIT_OTHER if problems else EXIT_DONE


def _methods(options: argparse.Namespace) -> int:
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


def _info(options: argparse.Namespace) -> int:
    from medseg.bundle import describe_steps, open_bundle, tasks

    if options.task:
        print(describe_steps(open_bundle(options.task), options.method))
        return EXIT_DONE
    print(f"medseg {__version__}, Python {sys.version.split()[0]}")
    for task in tasks():
        bundle = open_bundle(task)
        print(f"{task} {bundle.metadata['version']}: {bundle.metadata['task']}\n  {bundle.root}")
    return EXIT_DONE


def _ui(options: argparse.Namespace) -> int:
    from medseg.training.store import without_password
    from medseg.training.tracking import experiment_pages, mark_killed_runs, tracking_uri

    mark_killed_runs()
    uri = tracking_uri()
    is_server = uri.startswith(("http://", "https://"))
    address = without_password(uri) if is_server else f"http://127.0.0.1:{options.port}"
    if is_server:
        print(f"The runs are on a server: open {address} in a browser.")
    for name, page in experiment_pages(address).items():
        print(f"{name}: {page}", flush=True)
    if is_server:
        return EXIT_DONE
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    os.execvp(sys.executable, [*command, "--port", str(options.port)])


def _overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE strings to a dictionary; a value is read as YAML, as in the configuration."""
    import yaml

    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError("--set KEY=VALUE", came=pair, do="Write it with an equals sign.")
        overrides[key] = _number(yaml.safe_load(value))
    return overrides


def _number(value: Any) -> Any:
    """1e-3 as the number that it is; YAML 1.1 wants 1.0e-3 and reads this as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _given(options: argparse.Namespace, *names: str, **renamed: str) -> dict[str, Any]:
    """The options that the user gave, by the configuration's key."""
    keys = {**{name: name for name in names}, **renamed}
    return {key: value for key, name in keys.items() if (value := getattr(options, name)) is not None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medseg", description="Clinical segmentation on MONAI.")
    parser.add_argument("--version", action="version", version=f"medseg {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    _add_segment(commands)
    _add_inspect(commands)
    _add_train(commands)
    _add_evaluate(commands)

    compare = _command(commands, "compare-runs", _compare_runs, "is the second run better than the first?")
    compare.add_argument("first", help="MLflow run (id or name), or a folder with scores.csv")
    compare.add_argument("second")
    compare.add_argument("-o", "--output", default="out/comparison", metavar="OUT")
    compare.add_argument("--score", default="dice", help="what decides (default: dice)")

    sync = _command(commands, "sync", _sync, "send what a training could not while the server was away")
    sync.add_argument("folder", help="the training's output_dir")

    check = _command(commands, "check-data", _check_data, "report what is wrong with a data set")
    check.add_argument("manifest", help="path, or name of a shipped manifest")

    methods = _command(commands, "methods", _methods, "the methods of each task, with what they are")
    methods.add_argument("task", nargs="?")
    info = _command(commands, "info", _info, "versions and tasks; of one task the steps that an image takes")
    info.add_argument("task", nargs="?")
    info.add_argument("--method", metavar="NAME", help="the steps of another than the default")
    ui = _command(commands, "ui", _ui, "open MLflow's page on the experiments")
    ui.add_argument("--port", type=int, default=5000)
    return parser


def _add_segment(commands: Any) -> None:
    segment = _command(
        commands, "segment", _segment, "segment images: OUT/<case>/ gets mask, overlay, report, numbers"
    )
    segment.add_argument("task", help="for example retinal_vessel; `medseg info` lists all")
    segment.add_argument(
        "input", nargs="+", help="files, folders or patterns; a DICOM study as folder, zip archive or files"
    )
    segment.add_argument("-o", "--output", required=True, metavar="OUT", help="folder for the results")
    segment.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    segment.add_argument(
        "--pixel-spacing-mm",
        type=_positive,
        metavar="MM",
        help="size of a pixel; without it lengths are in px",
    )
    _add_method(segment)
    _add_weights(segment)
    segment.add_argument("--mode", default="semantic", help="semantic, or instance: a number a piece")
    segment.add_argument(
        "--formats",
        type=lambda text: text.split(","),
        default=(),
        metavar="A,B",
        help="nifti, nrrd, dicom-seg, rtstruct, mesh, png, html (default: nifti for volumes, png, html)",
    )
    _add_set(segment)


def _add_inspect(commands: Any) -> None:
    inspect = _command(
        commands, "inspect", _inspect, "what a file or DICOM study holds, and if it can be used"
    )
    inspect.add_argument("path", help="file, folder or zip archive")
    inspect.add_argument(
        "--modality", type=str.upper, default="CT", help="of the series to choose (default: CT)"
    )
    inspect.add_argument("--json", action="store_true", help="for programs")


def _add_train(commands: Any) -> None:
    train = _command(commands, "train", _train, "train a bundle's network by its train.yaml")
    train.add_argument("task")
    train.add_argument("--manifest", action="append", help="data manifest, by path or name; may be repeated")
    train.add_argument("--epochs", type=int)
    train.add_argument("--output_dir", metavar="DIR")
    train.add_argument(
        "--resume", action="store_true", default=None, help="go on where an interrupted training stopped"
    )
    train.add_argument(
        "--folds",
        type=int,
        nargs="?",
        const=5,
        metavar="N",
        help="cross-validate by subject (default: 5 folds)",
    )
    train.add_argument("--method", metavar="NAME", help="one that learns; `medseg methods` lists them")
    _add_set(train)


def _add_evaluate(commands: Any) -> None:
    evaluate = _command(
        commands, "evaluate", _evaluate, "score the masks of a method on a split of a data set"
    )
    evaluate.add_argument("task")
    evaluate.add_argument(
        "--manifest", action="append", help="data manifest, by path or name; may be repeated"
    )
    evaluate.add_argument("--split", help="training, validation or test (default)")
    evaluate.add_argument(
        "--weights",
        metavar="FILE",
        action="append",
        help="weights other than the method's own, or a cross-validation's folder; several are compared",
    )
    evaluate.add_argument(
        "--fold", type=int, metavar="K", help="one network of a cross-validation's --weights"
    )
    evaluate.add_argument("--output_dir", metavar="DIR")
    _add_method(evaluate)
    _add_set(evaluate)


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.set_defaults(command=run)
    return command


def _add_method(command: argparse.ArgumentParser) -> None:
    command.add_argument("--method", metavar="NAME", help="another than the default; see `medseg methods`")


def _add_weights(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--weights", metavar="FILE", help="other than the method's own, or the folder of a cross-validation"
    )
    command.add_argument(
        "--fold", type=int, metavar="K", help="one network of it, from 0 (default: their mean)"
    )


def _add_set(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the bundle's configuration",
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"required: a positive number of mm; came: {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
