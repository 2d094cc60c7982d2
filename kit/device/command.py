"""`kit-label`: its options, and what each of them starts. `python -m kit.device` is this too."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from kit import __version__
from kit.device.label import (
    FORMATS,
    allow_any_name,
    is_screening,
    label_images,
    run_self_test,
    write_results,
)
from kit.errors import KitError, in_words
from kit.model.model_file import read_labels
from kit.model.spec import RESIZE_METHODS
from kit.runtime.classifier import Classification, Classifier
from kit.runtime.images import image_paths


def run_benchmark(options: argparse.Namespace, out: TextIO, err: TextIO) -> None:
    """Measures the model on this machine, as `kit benchmark` does; prints text or JSON."""
    from kit.device.benchmark import benchmark, benchmark_text

    result = benchmark(
        options.model,
        image=options.images[0] if options.images else None,
        most_threads=options.num_threads,
        write=options.write,
        labels=read_labels(options.labels) if options.labels else None,
        mean=options.mean,
        std=options.std,
        resize=options.resize,
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
    with ResultsFile(options.output, options.model, rotate_mb) as results:
        if options.watch:
            print(
                f"watching {options.watch}; {options.output} has rows of {results.found} images",
                file=err,
                flush=True,
            )
            watch(classifier, options.watch, results)
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


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kit-label",
        description="Label images with a .tflite model.",
        epilog="Exit status: 0, 1 when anything failed, 2 for a mistake on the command line.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a .tflite image classifier")
    add("images", metavar="IMAGE", nargs="*", help="files, folders, or - for paths on stdin")
    add("--top-k", type=int, default=3, help="answers for each image (3)")
    add("--score-threshold", type=float, help="leave out answers below (the model's own, else 0)")
    add("--format", choices=FORMATS, default="text", help="what to print (text)")
    add("--allow", action="append", default=[], metavar="LABEL", help="answer only these labels")
    add("--deny", action="append", default=[], metavar="LABEL", help="never answer these labels")
    add("--num-threads", type=int, help="cores to use (all, at most 4)")
    add("--explain", metavar="OUT", help="where it looked: a PNG, or a folder for several images")
    add("--force", action="store_true", help="replace what --explain finds there")
    add("--self-test", action="store_true", help="check that this device computes as the maker's")
    add(
        "--benchmark",
        action="store_true",
        help="measure speed and memory with IMAGE, or a drawn one",
    )
    add("--write", action="store_true", help="with it: store the best number of threads in MODEL")
    lasting = parser.add_argument_group("for many images, or without an end")
    lasting.add_argument(
        "--output",
        metavar="FILE",
        help="append a row for each image to this CSV, leaving out those that have one",
    )
    lasting.add_argument("--watch", metavar="DIR", help="label into it what arrives in a folder")
    lasting.add_argument(
        "--camera", action="store_true", help="label a camera's frames, into it or as --format says"
    )
    lasting.add_argument(
        "--device",
        metavar="DEVICE",
        help="V4L2 device or video file (the Pi's own camera, else /dev/video0)",
    )
    lasting.add_argument(
        "--every", type=float, metavar="SECONDS", help="between the camera's frames (1)"
    )
    lasting.add_argument(
        "--smooth", type=int, metavar="N", help="mean of the scores of the last N frames (3)"
    )
    lasting.add_argument(
        "--rotate-mb",
        type=float,
        metavar="N",
        help="begin a new CSV at so many megabytes; older ones are numbered (10)",
    )
    foreign = parser.add_argument_group("for models that carry no labels or normalisation")
    foreign.add_argument("--labels", metavar="FILE", help="a label a line")
    foreign.add_argument("--mean", type=_numbers, help="one number, or three with commas")
    foreign.add_argument("--std", type=_numbers, help="one number, or three with commas")
    foreign.add_argument("--resize", choices=RESIZE_METHODS, help="(bilinear)")
    add("--version", action="version", version=f"kit-label {__version__}")
    return parser


def _mistake(options: argparse.Namespace) -> str | None:
    """What is wrong with a combination of options; None where nothing is."""
    sources = [bool(options.images), bool(options.watch), options.camera]
    of_camera = (options.device, options.every, options.smooth)
    tasks = (*sources, options.self_test, options.benchmark)
    rules = (
        (
            not any(tasks),
            "expected images to label, --watch, --camera, --self-test or --benchmark",
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
    )
    return next((text for broken, text in rules if broken), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = _parser()
    # Intermixed: options may stand between the model and the images.
    options = parser.parse_intermixed_args(arguments)
    mistake = _mistake(options)
    if mistake:
        parser.error(mistake)
    # Remarks on odd files, such as damaged EXIF, say nothing that a user could act on.
    warnings.filterwarnings("ignore", module="PIL|pydicom")
    try:
        if options.benchmark:
            run_benchmark(options, sys.stdout, sys.stderr)
            return 0
        classifier = Classifier.open(
            options.model,
            num_threads=options.num_threads,
            top_k=options.top_k,
            score_threshold=options.score_threshold,
            category_allowlist=options.allow,
            category_denylist=options.deny,
            labels=read_labels(options.labels) if options.labels else None,
            mean=options.mean,
            std=options.std,
            resize=options.resize,
        )
        with classifier:
            passed = run_self_test(classifier, sys.stdout) if options.self_test else True
            if options.output:
                passed &= record(classifier, options, sys.stderr)
            elif options.camera:
                with camera_results(classifier, options) as frames:
                    write_results(
                        frames, options.format, sys.stdout, sys.stderr, is_screening(classifier)
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


def console() -> None:
    """The console script."""
    sys.exit(main())
