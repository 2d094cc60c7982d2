"""`kit-label`: label images on the device. `kit label` and `python -m kit.runtime` are this too."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from kit import __version__
from kit.errors import KitError, SpecError, in_words
from kit.model_file import parse_labels
from kit.runtime.classifier import Classification, Classifier, Failure
from kit.spec import RESIZE_METHODS

FORMATS = ("text", "json", "csv")


def image_paths(images: Iterable[str], stdin: TextIO) -> Iterator[str]:
    """Files as they are, folders as the files in them, `-` as a path a line of standard input."""
    for image in images:
        if image == "-":
            yield from (line.rstrip("\n") for line in stdin if line.strip())
        elif os.path.isdir(image):
            for folder, folders, names in os.walk(image):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                yield from (
                    os.path.join(folder, name) for name in sorted(names) if not name.startswith(".")
                )
        else:
            yield image


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Labels of a text file, one a line; raises KitError where it cannot be read."""
    try:
        return parse_labels(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SpecError) as error:
        reason = getattr(error, "strerror", None) or error
        raise KitError(f"{path}: expected a text file with a label a line: {reason}") from error


def write_results(
    results: Iterable[Classification | Failure],
    style: str,
    out: TextIO,
    err: TextIO,
    screening: bool = False,
) -> bool:
    """Prints each result as it comes; returns whether every image could be labelled.

    Args:
        results: from Classifier.classify_files.
        style: one of FORMATS.
        out: results.
        err: failures, where the format has no place for them.
        screening: whether the model tells unknown images: CSV then has columns for it.
    """
    every = True
    if style == "csv":
        import csv

        table = csv.writer(out, lineterminator="\n")
        further = ("unknown", "unfamiliarity") if screening else ()
        table.writerow(("image", "rank", "index", "label", "score", "error", *further))
    for result in results:
        failed = isinstance(result, Failure)
        every = every and not failed
        if style == "json":
            import json

            out.write(json.dumps(_as_json(result), ensure_ascii=False) + "\n")
        elif style == "csv":
            if isinstance(result, Failure):
                table.writerow((result.image, "", "", "", "", result.error, *("" for _ in further)))
            else:
                told = _told(result).values()
                table.writerows(
                    (result.image, rank, c.index, c.label, f"{c.score:.6f}", "", *told)
                    for rank, c in enumerate(result.categories, 1)
                )
        elif isinstance(result, Failure):
            err.write(f"{result.image}: {result.error}\n")
        else:
            out.write(f"{result.image}: {_as_text(result)}\n")
        out.flush()
    return every


def _as_text(result: Classification) -> str:
    said = [f"{c.label} {c.score:.3f}" for c in result.categories] or [
        "nothing above the threshold"
    ]
    if result.unknown:
        return f"unknown (nearest: {said[0]})"
    return (f"{result.answer}: " if result.answer else "") + ", ".join(said)


def _told(result: Classification) -> dict[str, object]:
    """What a screening model says besides."""
    if result.unfamiliarity is None:
        return {}
    return {"unknown": result.unknown, "unfamiliarity": round(result.unfamiliarity, 6)}


def _as_json(result: Classification | Failure) -> dict[str, object]:
    if isinstance(result, Failure):
        return {"image": result.image, "error": result.error}
    answer = {"answer": result.answer} if result.answer else {}
    categories = [
        {"index": c.index, "label": c.label, "score": round(c.score, 6)} for c in result.categories
    ]
    return {"image": result.image, **answer, **_told(result), "categories": categories}


def label_images(
    classifier: Classifier,
    images: Sequence[str],
    style: str,
    out: TextIO,
    err: TextIO,
    explain: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> bool:
    """Labels files, folders or the paths on standard input; returns whether all went well.

    Args:
        classifier: the model.
        images: files, folders, or `-`.
        style: one of FORMATS.
        out: results.
        err: failures, where the format has no place for them.
        explain: where overlays go: a PNG for one file; for several, or where it is a folder or
            ends in a slash, a folder; None: nowhere.
        force: replace overlays that are there.
    """
    if "-" in images:
        _allow_any_name(sys.stdin, "surrogateescape")
    _allow_any_name(out, "backslashreplace")
    paths = image_paths(images, sys.stdin)
    one = len(images) == 1 and os.path.isfile(images[0])
    results: Iterable[Classification | Failure]
    if explain is not None:
        # A glob may give one image where the user means a folder.
        folder = os.fspath(explain).endswith(("/", os.sep)) or os.path.isdir(explain)
        results = _explained(classifier, paths, Path(explain), one and not folder, force)
    elif one:
        results = _one(classifier, images[0])
    else:
        results = classifier.classify_files(paths)
    return write_results(results, style, out, err, is_screening(classifier))


def is_screening(classifier: Classifier) -> bool:
    """Whether the model tells unknown images."""
    card = classifier.file.card
    return card is not None and card.screening is not None


def _allow_any_name(stream: TextIO, errors: str) -> None:
    """File names may be bytes that are no text; one of them must not end the batch."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=errors)


def _explained(
    classifier: Classifier, paths: Iterable[str], output: Path, one: bool, force: bool
) -> Iterator[Classification | Failure]:
    """Writes an overlay of each image: as the file `output`, or into the folder `output`."""
    from kit.errors import ImageError
    from kit.files import check_absent, write_beside
    from kit.runtime.explain import overlay

    used: set[str] = set()
    for path in paths:
        # Two folders may have images of one name.
        stem = name = Path(path).stem
        while name in used:
            name = f"{stem}_{len(used)}"
        used.add(name)
        target = check_absent(output if one else output / f"{name}.png", force)
        try:
            found = classifier.explain(path)
        except ImageError as error:
            yield Failure(path, str(error))
            continue
        with io.BytesIO() as picture:
            overlay(found.pixels, found.activation_map).save(picture, "PNG")
            write_beside(target, picture.getvalue(), force)
        yield found.classification


def _one(classifier: Classifier, image: str) -> Iterator[Classification | Failure]:
    """One image gets all threads for itself, and no second interpreter."""
    from kit.errors import ImageError

    try:
        yield classifier.classify(image)
    except ImageError as error:
        yield Failure(image, str(error))


def run_self_test(classifier: Classifier, out: TextIO) -> bool:
    """Prints how each golden check went; returns whether all passed."""
    from kit.runtime.self_test import self_test

    results = self_test(classifier)
    for result in results:
        pixels = "same pixels" if result.same_pixels else "OTHER PIXELS"
        out.write(
            f"pattern {result.pattern}: {pixels}, largest score difference "
            f"{result.difference:.4f} (allowed {result.tolerance:g}): "
            f"{'passed' if result.passed else 'FAILED'}\n"
        )
    passed = all(result.passed for result in results)
    out.write(f"self-test {'passed' if passed else 'FAILED'}\n")
    return passed


def run_benchmark(options: argparse.Namespace, out: TextIO, err: TextIO) -> None:
    """Measures the model on this machine, as `kit benchmark` does; prints text or JSON."""
    from kit.runtime.benchmark import benchmark, benchmark_text

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
    from kit.runtime.results import ROTATE_MB, ResultsFile
    from kit.runtime.watch import label_into, watch

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
            _allow_any_name(sys.stdin, "surrogateescape")
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
    from kit.runtime.camera import EVERY_SECONDS, SMOOTHED_FRAMES, label_frames, open_camera

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
