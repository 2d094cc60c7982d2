"""A model file and an image in, labels and scores out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.errors import ImageError, KitError, ModelFileError
from kit.model.labels import read_labels
from kit.model.model_file import ModelFile, read_model_file
from kit.model.output import to_scores
from kit.model.preprocess import Pixels, fit_pixels, fitted_to_input
from kit.model.spec import ACTIVATION_MAP, UNFAMILIARITY, PreprocessSpec
from kit.runtime.appearance import Appearance, appearance_of
from kit.runtime.explain import ActivationMap, seen_part
from kit.runtime.foreign import labels_of, output_kind_of, preprocess_of
from kit.runtime.images import read_image
from kit.runtime.interpreter import Runner, RunnerPool, interpreter_name
from kit.runtime.parallel import default_threads, ordered_map
from kit.runtime.teachable_machine import FIT, MEAN, STD, is_archive, unpack

if TYPE_CHECKING:
    import numpy.typing as npt


_SMALL_BYTES = 2_000_000
"""A MobileNet in a .tflite file of this size labels an image in some milliseconds."""


@dataclass(frozen=True)
class Category:
    """One possible answer.

    Attributes:
        index: position in the model's output.
        label: its name.
        score: after softmax, 0 to 1.
    """

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class Answer:
    """What a model gives for one image.

    Attributes:
        scores: float32 `[labels]`, 0 to 1.
        unfamiliarity: 0 up, where 1 is a typical training image; None of a plain file.
        appearance: how the image looks; None where the classifier was not opened for it.
    """

    scores: npt.NDArray[np.float32]
    unfamiliarity: float | None = None
    appearance: Appearance | None = None


@dataclass(frozen=True)
class Classification:
    """What a model says of one image.

    Attributes:
        image: the path, where the image came from a file.
        categories: best first; none where all are below the threshold.
        answer: `positive`, `negative` or `uncertain`, and `unknown` of an unknown image; None where
            the file has no operating point.
        unknown: whether the image is unlike those of the training; its categories are then only
            the nearest. None of a plain file, which can't tell.
        unfamiliarity: how unlike; see Answer.
        appearance: how the image looks; see Answer.
        highest_score: the highest of all scores, 0 to 1, whether its label is among the categories
            or not.
    """

    image: str | None
    categories: tuple[Category, ...]
    answer: str | None = None
    unknown: bool | None = None
    unfamiliarity: float | None = None
    appearance: Appearance | None = None
    highest_score: float | None = None


@dataclass(frozen=True)
class Explanation:
    """Where a model looked.

    Attributes:
        classification: the labels of the image.
        pixels: what of the photograph the model saw, uint8 `[height, width, 3]`, in the
            photograph's own aspect.
        activation_map: what each place of that adds to the best label's logit, more than to the
            labels' mean; float32 `[rows, columns]`. `kit.runtime.explain.overlay` draws it.
    """

    classification: Classification
    pixels: Pixels
    activation_map: ActivationMap


@dataclass(frozen=True)
class Failure:
    """An image of a batch that could not be labelled.

    Attributes:
        image: the path.
        error: one line: what was expected, what arrived.
    """

    image: str
    error: str


class Classifier:
    """Labels images with a .tflite file. Open it with `Classifier.open`.

    Not for two threads at once: `classify_files` uses all cores by itself.

    Attributes:
        file: what was read from disk.
        labels: one for each score.
        preprocess: what turns an image into the model's input.
        output_kind: what the model's output is, one of kit.model.spec.OUTPUT_KINDS.
        remarks: sentences on what was found in a file without a card.
        output_tensor: name of the output with the scores, where there are several.
    """

    def __init__(
        self,
        file: ModelFile,
        labels: tuple[str, ...],
        preprocess: PreprocessSpec,
        runner: Runner,
        num_threads: int,
        top_k: int | None,
        score_threshold: float,
        shown: npt.NDArray[np.bool_],
        output_kind: str = "scores",
        remarks: tuple[str, ...] = (),
        output_tensor: str | None = None,
        folders: ExitStack | None = None,
        appearance: bool = False,
    ) -> None:
        self.file = file
        self.labels = labels
        self.preprocess = preprocess
        self.output_kind = output_kind
        self.remarks = remarks
        self.output_tensor = output_tensor
        self._folders = folders or ExitStack()  # what was unpacked goes with this object
        self._runner = runner
        self._num_threads = num_threads
        self._top_k = top_k
        self._score_threshold = score_threshold
        self._shown = shown
        self._appearance = appearance
        self._single_runners = RunnerPool(self.new_runner)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        num_threads: int | None = None,
        single_image: bool = False,
        top_k: int | None = None,
        score_threshold: float | None = None,
        category_allowlist: Iterable[str] = (),
        category_denylist: Iterable[str] = (),
        labels: Iterable[str] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        resize: str | None = None,
        fit: str | None = None,
        input_resolution: int | None = None,
        output_tensor: str | None = None,
        output_kind: str | None = None,
        appearance: bool = False,
    ) -> Classifier:
        """Reads and checks the file, and builds the interpreter.

        Args:
            path: a .tflite image classifier, or a zip archive of one by Teachable Machine.
            num_threads: number of threads. None: for an image by itself what the card's hints say
                of this kind of machine, else the number of cores, at most 4.
            single_image: whether one image is all that will be labelled. Without a hint a small
                network then runs on one thread: more of them start slower than it answers.
            top_k: largest number of categories in an answer; None: all.
            score_threshold: leave out categories with lower scores; None: the file's own, else 0.
            category_allowlist: answer only with these labels; scores are not rescaled.
            category_denylist: never answer with these labels; not together with the allowlist.
            labels: labels of a file that has none.
            mean: subtracted from pixels of 0 to 255, for a float file that has none.
            std: divides what is left; one value or three, like mean.
            resize: the resize method, for a file without a card; None: `bilinear`.
            fit: how photographs get the input's aspect, for a file without a card; None: `stretch`.
            input_resolution: side of the input in pixels, for a file that leaves it open.
            output_tensor: name of the output with the scores, for a file that has several.
            output_kind: one of kit.model.spec.OUTPUT_KINDS, for a file without a card; None: as its
                graph says.
            appearance: whether answers also say how the images look, at some tenths of a
                millisecond each.

        Raises:
            ModelFileError: the file is damaged, is no image classifier, or lacks labels or
                normalisation that were not given either.
            InferenceError: the interpreter refuses the model.
            MissingDependencyError: there is no interpreter package.
            ValueError: contradicting or impossible arguments.
        """
        for name, value in (("num_threads", num_threads), ("top_k", top_k)):
            if value is not None and value < 1:
                raise ValueError(f"expected {name} of at least 1, got {value}")
        with ExitStack() as folders:
            model = path
            if archive := is_archive(path):
                from tempfile import TemporaryDirectory

                folder = folders.enter_context(TemporaryDirectory(prefix="kit-"))
                export = unpack(path, folder, (".tflite",))
                model, fit = export.model, fit or FIT
                labels = read_labels(export.labels) if labels is None else labels
            file = read_model_file(model)
            given = (labels, mean, std, resize, fit, input_resolution, output_tensor, output_kind)
            if file.card is not None and any(value is not None for value in given):
                raise ValueError(
                    f"{path}: its card says labels and preprocessing: leave out labels, mean, "
                    "std, resize, fit, input_resolution, output_tensor and output_kind"
                )
            try:
                threads = num_threads or _hinted_threads(file) or _threads(file, single_image)
                size = _size(file, input_resolution)
                runner = Runner(file.path, threads, size=size, output_tensor=output_tensor)
                _check_size(file, runner, size)
                _check_outputs(file, runner)
                known = file.labels if labels is None else tuple(labels)
                kind, remarks = output_kind_of(file, output_kind, runner)
                names = labels_of(known, runner, kind)
                if archive and mean is None and runner.input.dtype == "float32":
                    mean, std = MEAN, STD
                spec = preprocess_of(file, mean, std, resize, fit, runner)
            except KitError as error:
                raise type(error)(f"{path}: {error}") from error
            if score_threshold is None:
                score_threshold = _own_threshold(file)
            shown = _shown(names, tuple(category_allowlist), tuple(category_denylist))
            workers = num_threads or default_threads()
            return cls(
                *(file, names, spec, runner, workers, top_k, score_threshold, shown),
                *(kind, remarks, output_tensor, folders.pop_all(), appearance),
            )

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the interpreters; a second time changes nothing."""
        if hasattr(self, "_runner"):
            del self._runner
        self._single_runners.clear()
        self._folders.close()

    def new_runner(self, num_threads: int = 1, plain_kernels: bool = False) -> Runner:
        """One more interpreter of the file; see Runner."""
        return Runner(
            self.file.path,
            num_threads,
            plain_kernels=plain_kernels,
            size=(self.preprocess.height, self.preprocess.width),
            output_tensor=self.output_tensor,
        )

    def scores(self, image: Any) -> npt.NDArray[np.float32]:
        """All scores of one image, in the order of `labels`.

        Args:
            image: a path, a file's bytes, a PIL image, or pixels, uint8 `[height, width, 3]` RGB.

        Returns:
            float32 `[len(labels)]`, 0 to 1.

        Raises:
            ImageError: the image cannot be read.
            InferenceError: the model fails when it runs.
        """
        return self.answer(image).scores

    def answer(self, image: Any) -> Answer:
        """All that the model gives, but for the activation map; as `scores`."""
        return self._run(self._runner, read_image(image, self.preprocess.longer_side))

    def scores_of_files(
        self, paths: Iterable[str | os.PathLike[str]]
    ) -> Iterator[npt.NDArray[np.float32] | Failure]:
        """`scores` of many files on all cores, in their order; a Failure for an unreadable one."""
        for answer in self.answers_of_files(paths):
            yield answer if isinstance(answer, Failure) else answer.scores

    def answers_of_files(
        self, paths: Iterable[str | os.PathLike[str]]
    ) -> Iterator[Answer | Failure]:
        """`answer` of many files on all cores, in their order; a Failure for an unreadable one."""
        return (answer for _, answer in self._named_answers(paths))

    def classify(self, image: Any) -> Classification:
        """The best categories of one image; arguments and errors as `scores`."""
        name = str(image) if isinstance(image, str | os.PathLike) else None
        found = self.answer(image)
        return self.classification(name, found)

    def explain(self, image: Any) -> Explanation:
        """The best categories and where they are seen; arguments and errors as `scores`.

        Raises ModelFileError where the file has no activation map.
        """
        if ACTIVATION_MAP not in self._runner.further_outputs:
            raise ModelFileError(
                f"{self.file.path}: expected a screening model with an activation map, it has "
                "none: train or convert with --screening"
            )
        pixels = read_image(image, self.preprocess.longer_side)
        found = self._run(self._runner, pixels)
        name = str(image) if isinstance(image, str | os.PathLike) else None
        classification = self.classification(name, found)
        best = classification.categories[:1]
        label = best[0].index if best else int(found.scores.argmax())
        activation_map = self._runner.further(ACTIVATION_MAP)[0, :, :, label]
        return Explanation(classification, seen_part(pixels, self.preprocess), activation_map)

    def classify_files(
        self, paths: Iterable[str | os.PathLike[str]]
    ) -> Iterator[Classification | Failure]:
        """`classify` for many files on all cores, in their order; bad ones do not end it."""
        for name, found in self._named_answers(paths):
            if isinstance(found, Failure):
                yield found
            else:
                yield self.classification(name, found)

    def classification(self, image: str | None, found: Answer) -> Classification:
        """Scores to categories, by this classifier's top k, threshold and lists."""
        scores, unfamiliarity = found.scores, found.unfamiliarity
        card = self.file.card
        screening = None if card is None else card.screening
        unknown = None
        if screening is not None and unfamiliarity is not None:
            unknown = screening.is_unknown(unfamiliarity)
        order = np.argsort(-scores, kind="stable")  # equal scores keep the labels' order
        categories = (
            Category(int(index), self.labels[index], float(scores[index]))
            for index in order
            # In float64, as the operating point is: numpy 1 and 2 disagree about a mixed one.
            if self._shown[index] and float(scores[index]) >= self._score_threshold
        )
        answer = self._operate(scores, bool(unknown))
        best = tuple(categories)[: self._top_k]
        return Classification(
            *(image, best, answer, unknown, unfamiliarity, found.appearance),
            highest_score=float(scores.max()),
        )

    def _operate(self, scores: npt.NDArray[np.float32], unknown: bool) -> str | None:
        point = None if self.file.card is None else self.file.card.operating_point
        if point is None:
            return None
        if unknown:  # its scores say nothing
            return "unknown"
        return point.answer(float(scores[self.labels.index(point.positive)]))

    def _named_answers(
        self, paths: Iterable[str | os.PathLike[str]]
    ) -> Iterator[tuple[str, Answer | Failure]]:
        def work(path: str | os.PathLike[str]) -> tuple[str, Answer | Failure]:
            try:
                pixels = read_image(path, self.preprocess.longer_side)
            except ImageError as error:
                return str(path), Failure(str(path), str(error))
            with self._single_runners.borrowed() as runner:
                return str(path), self._run(runner, pixels)

        return ordered_map(work, paths, self._num_threads)

    def _run(self, runner: Runner, pixels: Pixels) -> Answer:
        fitted = fit_pixels(pixels, self.preprocess)
        tensor = fitted_to_input(
            fitted, self.preprocess, runner.input.dtype, runner.input.quantization
        )
        scores = to_scores(runner.run(tensor), self.output_kind)
        unfamiliarity = None
        if UNFAMILIARITY in runner.further_outputs:
            unfamiliarity = float(runner.further(UNFAMILIARITY).item())
        return Answer(scores, unfamiliarity, appearance_of(fitted) if self._appearance else None)


def _threads(file: ModelFile, single_image: bool) -> int:
    return 1 if single_image and file.size_bytes <= _SMALL_BYTES else default_threads()


def _hinted_threads(file: ModelFile) -> int | None:
    if file.card is None or not file.card.hints.threads:
        return None
    from kit.runtime.machine import machine_kind  # files without hints need none

    return file.card.hints.num_threads(machine_kind(), interpreter_name())


def _check_outputs(file: ModelFile, runner: Runner) -> None:
    screening = None if file.card is None else file.card.screening
    expected: tuple[str, ...] = ()
    if screening is not None:
        expected = (UNFAMILIARITY, *([ACTIVATION_MAP] if screening.activation_map else []))
    if runner.further_outputs != expected:
        raise ModelFileError(
            f"expected the outputs {', '.join(('scores', *expected))}, as its card says, got "
            f"{', '.join(('scores', *runner.further_outputs))}: make the file again"
        )


def _check_size(file: ModelFile, runner: Runner, wanted: tuple[int, int] | None) -> None:
    """Raises ModelFileError where height and width are not the model's."""
    found = runner.image.height, runner.image.width
    if wanted is None or wanted == found:
        return
    asked, own = (" by ".join(dict.fromkeys(map(str, size))) for size in (wanted, found))
    if file.card is not None:
        raise ModelFileError(
            f"expected an input of {asked} pixels, as its card says, got one of {own}: "
            "package the model again"
        )
    raise ModelFileError(
        f"expected the model's own input resolution, {own}, got --input-resolution {asked}"
    )


def _size(file: ModelFile, input_resolution: int | None) -> tuple[int, int] | None:
    """Height and width of the input, where they are known before the interpreter tells them."""
    if file.card is not None:
        return file.card.preprocess.height, file.card.preprocess.width
    return None if input_resolution is None else (input_resolution, input_resolution)


def _own_threshold(file: ModelFile) -> float:
    if file.card is not None:
        return file.card.score_threshold or 0.0
    if file.metadata is not None:
        return file.metadata.score_threshold or 0.0
    return 0.0


def _shown(
    labels: tuple[str, ...], allow: tuple[str, ...], deny: tuple[str, ...]
) -> npt.NDArray[np.bool_]:
    if allow and deny:
        raise ValueError("expected a category_allowlist or a category_denylist, got both")
    unknown = [label for label in (*allow, *deny) if label not in labels]
    if unknown:
        raise ValueError(f"expected labels of the model, got {', '.join(unknown)}")
    return np.array([label in allow if allow else label not in deny for label in labels])
