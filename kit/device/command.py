"""`kit-label`: its options, and what each of them starts. `python -m kit.device` is this too."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from kit import __version__
from kit.device import calibrate
from kit.device.label import (
    FORMATS,
    further_columns,
    is_single_image,
    label_images,
    run_self_test,
    write_results,
)
from kit.errors import KitError, in_words
from kit.filenames import allow_any_name
from kit.model.labels import read_labels
from kit.model.spec import OUTPUT_KINDS, RESIZE_METHODS
from kit.reporting import plain_warnings
from kit.runtime.classifier import Classification, Classifier
from kit.runtime.paths import image_paths


def run_doctor(style: str, out: TextIO) -> int:
    """Prints what this device can run; returns the exit status."""
    from kit.device.doctor import check_device, doctor_json, doctor_text, works

    checks = check_device()
    if style == "json":
        import json

        out.write(json.dumps(doctor_json(checks), ensure_ascii=False) + "\n")
    else:
        out.write(doctor_text(checks) + "\n")
    return 0 if works(checks) else 1


def run_monitor(options: argparse.Namespace, out: TextIO) -> bool:
    """Tells whether results have shifted, as `kit monitor` does; returns whether none has."""
    from kit.evaluation.monitoring import monitor, monitored_text

    found = monitor([options.monitor], options.model)
    if options.format == "json":
        import json

        out.write(json.dumps(found.to_json(), ensure_ascii=False) + "\n")
    else:
        out.write(monitored_text(found) + "\n")
    return not found.alarms


def run_benchmark(options: argparse.Namespace, out: TextIO, err: TextIO) -> None:
    """Measures the model on this machine, as `kit benchmark` does; prints text or JSON."""
    from kit.device.benchmark import benchmark, benchmark_text

    result = benchmark(
        options.model,
        image=options.images[0] if options.images else None,
        most_threads=options.num_threads,
        write=options.write,
        **_known(options),
        say=lambda line: print(line, file=err, flush=True),
    )
    if options.format == "json":
        import json

        out.write(json.dumps(result.to_json(), ensure_ascii=False) + "\n")
    else:
        out.write(benchmark_text(result) + "\n")


def record(classifier: Classifier, options: argparse.Namespace, err: TextIO) -> bool:
    """Labels images into the results file, or a camera's, or those that arrive in a folder.

    Returns whether all went well; of a watched folder never.
    """
    from kit.device.results import ROTATE_MB, ResultsFile
    from kit.device.watch import label_into, watch

    rotate_mb = ROTATE_MB if options.rotate_mb is None else options.rotate_mb
    with ExitStack() as stack:
        before: list[Callable[[Mapping[str, object], str], None]] = []
        if options.audit:
            from kit.device.audit import AuditLog

            log = AuditLog(options.audit, classifier.file, options.audit_paths)
            before.append(stack.enter_context(log).append)
        if options.uncertain_to:
            from kit.device.second_reading import SecondReading

            before.append(SecondReading(options.uncertain_to).append)
        results = stack.enter_context(
            ResultsFile(options.output, classifier.file, rotate_mb, before)
        )
        if options.watch:
            watch(
                classifier,
                options.watch,
                results,
                say=lambda line: print(line, file=err, flush=True),
            )
        if options.camera:
            with camera_results(classifier, options) as frames:
                for result in frames:
                    results.append(result, str(result.image))
            return True
        if "-" in options.images:
            allow_any_name(sys.stdin, "surrogateescape")
        tally = label_into(classifier, image_paths(options.images, sys.stdin), results)
    print(
        f"{options.output}: {tally.labelled} images labelled, {tally.failed} failed, "
        f"{tally.skipped} were there already",
        file=err,
    )
    return not tally.failed


@contextmanager
def camera_results(
    classifier: Classifier, options: argparse.Namespace
) -> Iterator[Iterator[Classification]]:
    """The labels of the frames of the camera that is asked for."""
    from kit.device.camera import EVERY_SECONDS, SMOOTHED_FRAMES, label_frames, open_camera

    every = EVERY_SECONDS if options.every is None else options.every
    smooth = SMOOTHED_FRAMES if options.smooth is None else options.smooth
    with open_camera(options.device, every) as frames:
        yield label_frames(classifier, frames, smooth)


_VERSION_HELP = "Show the version and exit."


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


class _Parser(argparse.ArgumentParser):
    """Names the nearest option where one is mistyped."""

    def error(self, message: str) -> NoReturn:
        _, found, rest = message.partition("unrecognized arguments: ")
        mistyped = next((word for word in rest.split() if word.startswith("--")), None)
        if found and mistyped is not None:
            from difflib import get_close_matches

            name = mistyped.partition("=")[0]
            near = get_close_matches(name, self._option_string_actions, 1)
            message = f"no such option: {name}{f'; did you mean {near[0]}?' if near else ''}"
        super().error(message)


def build_parser() -> argparse.ArgumentParser:
    """The options of `kit-label`."""
    parser = _Parser(
        prog="kit-label",
        usage="kit-label [OPTIONS] MODEL [IMAGE ...]",
        description="Label images with a .tflite model.",
        epilog="""\
examples:
  $ kit-label model_int8.tflite photo.jpg
  $ kit-label model_int8.tflite photos/ --output results.csv
  $ kit-label model_int8.tflite --watch incoming/ --output results.csv
  $ kit-label model_int8.tflite --self-test

The exit status is 0, 1 if anything failed, and 2 for a mistake on the command line.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="?", help="The .tflite image classifier.")
    add(
        "images",
        metavar="IMAGE",
        nargs="*",
        help="Image files, folders, or - for paths on standard input.",
    )
    add("--version", action="version", version=f"kit-label {__version__}", help=_VERSION_HELP)
    _add_answers(parser)
    _add_recording(parser)
    _add_keeping(parser)
    _add_checks(parser)
    calibrate.add_options(parser)
    _add_foreign_model(parser)
    return parser


def _add_answers(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("answers").add_argument
    add(
        "--top-k",
        type=int,
        default=3,
        metavar="N",
        help="Give at most this number of labels for each image (by default 3).",
    )
    add(
        "--score-threshold",
        type=float,
        metavar="SCORE",
        help="Leave out answers with a lower score (by default the model's own threshold).",
    )
    add(
        "--allow",
        action="append",
        default=[],
        metavar="LABEL",
        help="Answer only with this label; you can give several.",
    )
    add(
        "--deny",
        action="append",
        default=[],
        metavar="LABEL",
        help="Never answer with this label; you can give several.",
    )
    add(
        "--format",
        choices=FORMATS,
        default="text",
        help="Print text, a JSON object for each image, or a CSV table (by default text).",
    )
    add(
        "--explain",
        metavar="PATH",
        help="Show where the model looked: write a PNG picture, or pictures into a folder (for "
        "several images, or where PATH ends in a slash).",
    )
    add(
        "--force",
        action="store_true",
        help="Replace pictures that --explain finds there, or the file of --calibrate.",
    )
    add(
        "--num-threads",
        type=int,
        metavar="N",
        help="Use this number of threads (by default all cores, at most 4).",
    )


def _add_recording(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("many images, or no end of them").add_argument
    add(
        "--output",
        metavar="FILE",
        help="Append a row for each image to this CSV file, and leave out images that have one.",
    )
    add(
        "--watch",
        metavar="FOLDER",
        help="Label every image that arrives in this folder; needs --output.",
    )
    add(
        "--camera",
        action="store_true",
        help="Label the frames of a camera, and print them or write them to --output.",
    )
    add(
        "--device",
        metavar="DEVICE",
        help="Take this V4L2 device or video file as the camera (by default the Raspberry Pi's "
        "own camera, else /dev/video0).",
    )
    add(
        "--every",
        type=float,
        metavar="SECONDS",
        help="Take a frame of the camera after this time (by default 1 second).",
    )
    add(
        "--smooth",
        type=int,
        metavar="N",
        help="Answer with the mean of the scores of the last N frames (by default 3).",
    )
    add(
        "--rotate-mb",
        type=float,
        metavar="MB",
        help="Begin a new CSV file at this size and number the older ones (by default 10 MB).",
    )


def _add_keeping(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("beside --output").add_argument
    add(
        "--audit",
        metavar="FILE",
        help="Append every answer to this log too, in which each entry carries the hash of the one "
        "before; kit audit verify finds changes.",
    )
    add("--audit-paths", action="store_true", help="Name the images' paths in the log.")
    add(
        "--uncertain-to",
        metavar="FOLDER",
        help="Copy uncertain and unknown images, whole files with their headers, to this folder, "
        "with a table for a person to label them.",
    )


def _add_checks(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("checks of this device").add_argument
    add(
        "--doctor",
        action="store_true",
        help="Show what this device can run and what to do where something is missing; needs no "
        "MODEL.",
    )
    add(
        "--self-test",
        action="store_true",
        help="Check that this device computes the same scores as the one that made the model.",
    )
    add(
        "--monitor",
        metavar="RESULTS",
        help="Tell by this CSV file of --output whether the images have shifted since MODEL was "
        "set up.",
    )
    add(
        "--benchmark",
        action="store_true",
        help="Measure speed and memory with one image, or with a drawn one.",
    )
    add(
        "--require-signature",
        metavar="PUBLIC",
        help="Run MODEL only if it is what the owner of this public key signed (kit sign); needs "
        "the extra sign.",
    )
    add(
        "--write",
        action="store_true",
        help="Store the best number of threads that --benchmark finds in MODEL.",
    )


def _add_foreign_model(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("models without labels or normalisation").add_argument
    add(
        "--labels",
        metavar="FILE",
        help="Read labels from this file: a label on each line, JSON or CSV.",
    )
    add(
        "--mean",
        type=_numbers,
        metavar="NUMBERS",
        help="Subtract this from pixels of 0 to 255: one number, or three with commas.",
    )
    add(
        "--std",
        type=_numbers,
        metavar="NUMBERS",
        help="Divide pixels by this after that: one number, or three with commas.",
    )
    add(
        "--resize",
        choices=RESIZE_METHODS,
        help=f"Resize images with this method (by default {RESIZE_METHODS[0]}).",
    )
    add(
        "--input-resolution",
        type=int,
        metavar="PIXELS",
        help="Give the input this side, if the model leaves it open.",
    )
    add(
        "--output-tensor",
        metavar="NAME",
        help="Take the scores from this output, by its name or number, if there are several.",
    )
    add(
        "--output-kind",
        choices=OUTPUT_KINDS,
        help="Say what the output is, if the end of the graph does not tell.",
    )


def _known(options: argparse.Namespace) -> dict[str, Any]:
    """What the file of a model may not say, as Classifier.open takes it."""
    return {
        "labels": read_labels(options.labels) if options.labels else None,
        "mean": options.mean,
        "std": options.std,
        "resize": options.resize,
        "input_resolution": options.input_resolution,
        "output_tensor": options.output_tensor,
        "output_kind": options.output_kind,
    }


def _mistake(options: argparse.Namespace) -> str | None:
    """What is wrong with a combination of options; None where nothing is."""
    sources = [bool(options.images), bool(options.watch), options.camera]
    of_camera = (options.device, options.every, options.smooth)
    tasks = (*sources, options.self_test, options.benchmark, bool(options.monitor))
    rules = (
        (
            options.doctor and (options.model or any(tasks) or options.format == "csv"),
            "expected --doctor alone, with text or json as --format",
        ),
        (not options.doctor and options.model is None, "expected a MODEL, got none"),
        (
            not any(tasks) and not options.doctor,
            "expected images to label, --watch, --camera, --self-test, --benchmark or --monitor",
        ),
        (
            options.monitor and (sum(tasks) > 1 or options.output or options.format == "csv"),
            "expected --monitor alone, as text or json",
        ),
        (sum(sources) > 1, "expected images, --watch or --camera, got several of them"),
        (options.write and not options.benchmark, "expected --write beside --benchmark"),
        (
            options.benchmark
            and (
                len(options.images) > 1
                or options.format == "csv"
                or options.self_test
                or any(sources[1:])
                or options.output
            ),
            "expected --benchmark alone, with one image at most, as text or json",
        ),
        (options.watch and not options.output, "expected --watch with --output FILE"),
        (
            options.output and (options.format != "text" or options.explain or not any(sources)),
            "expected --output, which is a CSV, with images, --watch or --camera, and without "
            "--format and --explain",
        ),
        (
            any(value is not None for value in of_camera) and not options.camera,
            "expected --device, --every and --smooth beside --camera",
        ),
        (options.camera and options.explain, "expected --camera without --explain"),
        (
            options.rotate_mb is not None and not options.output,
            "expected --rotate-mb beside --output",
        ),
        (
            (options.audit or options.uncertain_to) and not options.output,
            "expected --audit and --uncertain-to beside --output",
        ),
        (options.audit_paths and not options.audit, "expected --audit-paths beside --audit"),
        (options.uncertain_to and options.camera, "expected --uncertain-to without --camera"),
        (
            options.uncertain_to
            and any(
                Path(os.path.realpath(options.uncertain_to)).is_relative_to(
                    os.path.realpath(folder)
                )
                for folder in (*options.images, *filter(None, (options.watch,)))
            ),
            "expected --uncertain-to outside the folder that is labelled, or its copies are "
            "labelled too: put it beside",
        ),
    )
    recording = options.output or options.explain or options.format == "csv"
    others = any(tasks[1:]) or bool(recording)
    broken_rule = next((text for broken, text in rules if broken), None)
    return broken_rule or calibrate.mistake(options, others)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = build_parser()
    # Intermixed: options may stand between the model and the images.
    options = parser.parse_intermixed_args(arguments)
    mistake = _mistake(options)
    if mistake:
        parser.error(mistake)
    plain_warnings()
    try:
        if options.doctor:
            return run_doctor(options.format, sys.stdout)
        if options.require_signature:
            from kit.device.signature import check_signature

            check_signature(options.model, options.require_signature)
        if options.benchmark:
            run_benchmark(options, sys.stdout, sys.stderr)
            return 0
        if options.monitor:
            return 0 if run_monitor(options, sys.stdout) else 1
        if options.calibrate:
            calibrate.run_calibrate(options, sys.stdout, sys.stderr)
            return 0
        classifier = Classifier.open(
            options.model,
            num_threads=options.num_threads,
            single_image=is_single_image(options.images) and not options.output,
            top_k=options.top_k,
            score_threshold=options.score_threshold,
            category_allowlist=options.allow,
            category_denylist=options.deny,
            appearance=bool(options.output),
            **_known(options),
        )
        with classifier:
            for remark in classifier.remarks:
                print(f"warning: {options.model}: {remark}", file=sys.stderr)
            passed = run_self_test(classifier, sys.stdout) if options.self_test else True
            if options.output:
                passed &= record(classifier, options, sys.stderr)
            elif options.camera:
                with camera_results(classifier, options) as frames:
                    write_results(
                        *(frames, options.format, sys.stdout, sys.stderr),
                        further_columns(classifier),
                    )
            elif options.images:
                passed &= label_images(
                    classifier,
                    options.images,
                    options.format,
                    sys.stdout,
                    sys.stderr,
                    options.explain,
                    options.force,
                )
    except (KitError, ValueError) as error:
        if os.environ.get("KIT_DEBUG") == "1":
            raise
        print(f"kit-label: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as head, went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, a folder that may not be written to
        print(f"kit-label: {in_words(error)}", file=sys.stderr)
        return 1
    return 0 if passed else 1
