"""A folder with one folder for each class, to a list of labelled images.

Other sources of labels (kit.data.sources) list their entries, and end here too.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kit.errors import DataError, ImageError, SpecError
from kit.model.spec import check_labels
from kit.reporting import counted
from kit.runtime.dicom import HEAD_BYTES, is_dicom, patient_group
from kit.runtime.paths import check_regular, is_left_behind, is_side_file

FEW_IMAGES = 20
"""Below this many a class is warned of, as the retraining tutorials of 2017 did."""

PART_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What folders and tables call the parts, in lower case."""


@dataclass(frozen=True)
class LabelledImage:
    """One image file.

    Attributes:
        path: relative to the data set's folder, with `/`.
        label: index in the data set's labels.
        digest: SHA-256 of the file's content, in hexadecimal.
        group: digest of what the image belongs to (a patient) and must not be parted from. Never
            the key itself: what is not here can't reach an output file.
        part: one of PARTS, if the folders or a table give it.
        subgroups: name and value of what it is to be compared by, in the order asked for.
    """

    path: str
    label: int
    digest: str
    group: str | None = None
    part: str | None = None
    subgroups: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Entry:
    """What a source of labels says of one file: `path` relative to the root, with `/`."""

    path: str
    label: str
    group: str | None = None
    part: str | None = None
    subgroups: tuple[tuple[str, str], ...] = ()


@dataclass
class Found:
    """What a source of labels met on its way through the folders.

    Attributes:
        left_out: path and reason of every file that is not used.
        warnings: what a user should know.
        side_files: how many files of each suffix or name are no images by their name.
        left_behind: how many files and folders of each name systems and archives left behind.
    """

    left_out: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    side_files: Counter[str] = field(default_factory=Counter)
    left_behind: Counter[str] = field(default_factory=Counter)

    def is_left_behind(self, name: str) -> bool:
        """Whether a name is to be passed over; it is counted then."""
        if not is_left_behind(name):
            return False
        # On a Mac each file may have one with `._` before its name.
        self.left_behind["._*" if name.startswith("._") else name] += 1
        return True

    def told(self) -> list[str]:
        """The warnings, with a line for what was passed over."""
        lines = list(self.warnings)
        if self.side_files:
            count = counted(self.side_files.total(), "file")
            lines.append(f"passed over {count}, no image by the name: {_names(self.side_files)}")
        if self.left_behind:
            lines.append(
                "passed over what is hidden, or left behind by a system or an archive "
                f"({self.left_behind.total()}): {_names(self.left_behind)}"
            )
        return lines


def _names(counts: Counter[str]) -> str:
    return listed(name for name, _ in counts.most_common())


@dataclass(frozen=True)
class Dataset:
    """What a scan found.

    Attributes:
        root: the folder.
        labels: names of the class folders, sorted.
        images: sorted by path.
        left_out: path and reason of every file that is not used.
        warnings: what a user should know before training on this.
        contradictions: images left out because their content stands in two classes.
        lone_group: whether all images have one and the same group, which is then not used.
        corrected: digests of the images that got another label (see kit.data.corrections).
        excluded: paths of those that corrections leave out.
    """

    root: Path
    labels: tuple[str, ...]
    images: tuple[LabelledImage, ...]
    left_out: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    contradictions: tuple[LabelledImage, ...] = ()
    lone_group: bool = False
    corrected: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all contents and labels; names and order of files do not matter."""
        lines = sorted(f"{self.labels[image.label]}\0{image.digest}\n" for image in self.images)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def counts(self) -> tuple[int, ...]:
        """Images of each label."""
        counts = [0] * len(self.labels)
        for image in self.images:
            counts[image.label] += 1
        return tuple(counts)

    def only(self, paths: Iterable[str], labels: tuple[str, ...]) -> Dataset:
        """The images with these paths, their labels counted as in `labels`.

        Raises DataError where a path is missing, or its folder is none of `labels`.
        """
        by_path = {image.path: image for image in self.images}
        wanted = sorted(paths)
        if missing := [path for path in wanted if path not in by_path]:
            raise DataError(
                f"{self.root}: expected all images that were there before, {len(missing)} are "
                f"missing, such as {missing[0]}: name their folder with --images"
            )
        images = [by_path[path] for path in wanted]
        if strangers := {self.labels[image.label] for image in images} - {*labels}:
            raise DataError(f"expected labels of {listed(labels)}, got {listed(strangers)}")
        numbers = {name: number for number, name in enumerate(labels)}
        relabelled = (replace(image, label=numbers[self.labels[image.label]]) for image in images)
        return replace(self, labels=labels, images=tuple(relabelled), contradictions=())

    def without(self, reasons: Mapping[str, str]) -> Dataset:
        """This data set less the images with these paths, which are listed as left out."""
        kept = tuple(image for image in self.images if image.path not in reasons)
        return replace(self, images=kept, left_out=(*self.left_out, *sorted(reasons.items())))


def scan_images(
    root: str | os.PathLike[str],
    *,
    labels: Iterable[str] | None = None,
    name_of: Callable[[str], str] = lambda label: label,
) -> Dataset:
    """Finds the labelled images below a folder. Contents are hashed, not yet decoded.

    Args:
        root: holds a folder for each class; images may lie deeper in it. The folder's name is the
            label, in any script; see label_of. Files that are hidden, left behind by systems and
            archives, or no images by their name are passed over. Where `root` holds nothing but
            folders named as parts (train, validation or val, test), the class folders are in those,
            and the parts are given.
        labels: labels of a model, to evaluate it; every folder must be one of them. Default: the
            folders' names.
        name_of: what to call a folder's label.

    Raises:
        DataError: the folder is missing or unreadable, has no images, fewer than two classes, or
            a class that is not among `labels`.
        MissingDependencyError: there are DICOM files, and pydicom is missing.
    """
    root = check_root(root)
    found = Found()
    classes = _class_folders(root, found)
    entries: list[Entry] = []
    for folder, part in classes:
        paths = files_below(folder, root, found)
        if not paths:
            name = folder.relative_to(root).as_posix()
            found.warnings.append(f"the folder {name} has no images: it is no class")
        label = name_of(label_of(folder.name)) if paths else ""
        entries += [Entry(path.relative_to(root).as_posix(), label, part=part) for path in paths]
    if not entries:
        raise DataError(f"{root}: expected a folder of images per class, found no images")
    found.warnings += _renamed(folder.name for folder, _ in classes)
    labels = None if labels is None else tuple(labels)
    only = entries[0].label
    if {entry.label for entry in entries} == {only} and only not in (labels or ()):
        _check_depth(root, only)
    return build_dataset(root, entries, FOLDERS, labels, found)


def scan_unlabelled(root: str | os.PathLike[str], paths: Iterable[str] | None = None) -> Dataset:
    """Finds the images below a folder, at any depth, whatever the folders are called.

    Args:
        root: the folder.
        paths: relative to it, or whole ones, of the images that are wanted; None: all.

    Returns:
        A data set without labels, each content once: every image's label is -1.

    Raises:
        DataError: the folder is missing or unreadable, or has no images.
        MissingDependencyError: there are DICOM files, and pydicom is missing.
    """
    root = check_root(root, "images")
    found = Found()
    if paths is None:
        paths = [path.relative_to(root).as_posix() for path in files_below(root, root, found)]
    entries = [Entry(path, "") for path in paths]
    hashed = {
        image.digest: replace(image, label=-1)
        for image in reversed(_hash(root, entries, ("",), found.left_out))
    }
    if not hashed:
        raise DataError(f"{root}: expected a folder of images, found none")
    images = tuple(sorted(hashed.values(), key=lambda image: image.path))
    return Dataset(root, (), images, tuple(found.left_out), tuple(found.told()))


def _class_folders(root: Path, found: Found) -> list[tuple[Path, str | None]]:
    """The folder of each class, in each part, and the part if the folders give them."""
    folders, loose = _entries_of(root, found)
    parts = _parts_of(folders)
    if not parts:
        if misplaced := [folder.name for folder in folders if folder.name.lower() in PART_NAMES]:
            found.warnings.append(
                f"{listed(misplaced)}: taken for classes, since there are class folders beside them"
            )
        _tell_loose(loose, found)
        return [(folder, None) for folder in folders]
    classes: list[tuple[Path, str | None]] = []
    labelled: list[str] = []
    for folder in folders:
        inside, beside = _entries_of(folder, found)
        if inside:
            labelled.append(folder.name)
            classes += [(entry, parts[folder]) for entry in inside]
            loose += beside
        else:
            what = f"{counted(beside, 'file')} without a class" if beside else "nothing"
            found.warnings.append(f"{folder.name} has {what} in it: passed over")
    _tell_loose(loose, found)
    if len(labelled) > 1:
        return classes
    found.warnings.append(f"only {labelled[0]} has class folders: all parts are drawn from it")
    return [(folder, None) for folder, _ in classes]


def _tell_loose(loose: int, found: Found) -> None:
    if loose:
        found.warnings.append(f"files beside the class folders, in no class, passed over: {loose}")


def _check_depth(root: Path, only: str) -> None:
    """Raises DataError where the classes of a folder with only one lie deeper in it."""
    folder, depth = root, 0
    while True:
        folders, files = _entries_of(folder, Found())
        if len(folders) > 1 and depth:
            break
        if len(folders) != 1 or files:
            return
        folder, depth = folders[0], depth + 1
    levels = "one level" if depth == 1 else f"{depth} levels"
    raise DataError(
        f"{root}: expected at least 2 classes, a folder each, got 1 ({only}). The classes lie "
        f"{levels} deeper ({listed(folder.name for folder in folders)}): give {folder}"
    )


def label_of(name: str) -> str:
    """A file's or folder's name as a label: composed Unicode (NFC).

    Archives of other systems decompose letters, or keep bytes that are no UTF-8. Those are read as
    Windows-1252, or as Latin-1 where that has no letter.
    """
    return unicodedata.normalize("NFC", _decoded(name))


def _decoded(name: str) -> str:
    try:
        name.encode()
        return name
    except UnicodeEncodeError:
        content = os.fsencode(name)
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _renamed(folders: Iterable[str]) -> Iterator[str]:
    """What to say of names that are not the label, byte for byte."""
    names: dict[str, set[str]] = defaultdict(set)
    for name in folders:
        names[label_of(name)].add(name)
    for label, spelt in sorted(names.items()):
        if len(spelt) > 1:
            yield f"{len(spelt)} spellings of {label} in folders' names are one class"
        elif label != (name := min(spelt)) and _decoded(name) != name:
            yield f"a folder's name is not UTF-8: its label is {label}"


@dataclass(frozen=True)
class Wording:
    """How errors speak of a source of labels."""

    label: str
    classes: str
    rename: str


FOLDERS = Wording("folders named", "a folder each", "rename the folder")


def check_root(root: str | os.PathLike[str], what: str = "a folder of images per class") -> Path:
    """The data set's folder; raises DataError where it is none."""
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing there"
        raise DataError(f"{root}: expected a folder with {what}, {found}")
    return root


def build_dataset(
    root: Path,
    entries: Iterable[Entry],
    wording: Wording,
    labels: Iterable[str] | None,
    found: Found,
) -> Dataset:
    """Hashes the files that a source of labels names.

    Args:
        root: the data set's folder.
        entries: at least one, no path twice.
        wording: for errors.
        labels: labels of a model; None: those of the entries, sorted.
        found: what the source met; more is added.

    Raises as scan_images.
    """
    entries = sorted(entries, key=lambda entry: entry.path)
    own = tuple(sorted({entry.label for entry in entries}))
    try:
        check_labels(own)
    except SpecError as error:
        raise DataError(f"{root}: {error}: {wording.rename}") from error
    names = own if labels is None else tuple(labels)
    # A model of an earlier kit may have decomposed letters in its labels.
    composed = {label_of(name) for name in names}
    if labels is None and len(own) < 2:
        raise DataError(
            f"{root}: expected at least 2 classes, {wording.classes}, got 1 ({names[0]}): "
            "add images of something else"
        )
    if strangers := [name for name in own if label_of(name) not in composed]:
        raise DataError(
            f"{root}: expected {wording.label} as the model's labels ({listed(names)}), "
            f"got {listed(strangers)}"
        )
    left_out = found.left_out
    hashed = _hash(root, entries, names, left_out)
    lone_group = _has_lone_group(hashed)
    if lone_group:
        hashed = [replace(image, group=None) for image in hashed]
        found.warnings.append(
            f"all {len(hashed)} images have one and the same group or patient id, so it is not "
            "used: images of one patient may be in two parts, unless --group-regex or "
            "--group-column tells patients apart"
        )
    kept, contradictions = _part_contradictions(hashed, names, left_out)
    dataset = Dataset(root, names, kept, tuple(left_out), (), contradictions, lone_group)
    if not kept:
        raise DataError(
            f"{root}: expected images, all {len(left_out)} files were left out: {left_out[0][1]}"
        )
    for name, count in zip(names, dataset.counts(), strict=True):
        if count < FEW_IMAGES and labels is None:
            found.warnings.append(
                f"{name} has {counted(count, 'image')}: fewer than {FEW_IMAGES} give a poor "
                "classifier"
            )
    return replace(dataset, warnings=tuple(found.told()))


def _entries_of(folder: Path, found: Found) -> tuple[list[Path], int]:
    """The folders in a folder, and how many files lie beside them that may be images."""
    folders, loose = [], 0
    try:
        for entry in sorted(folder.iterdir(), key=lambda path: path.name):
            if found.is_left_behind(entry.name):
                continue
            if entry.is_dir():
                folders.append(entry)
            elif is_side_file(entry.name):
                found.side_files[_kind(entry.name)] += 1
            else:
                loose += 1
    except OSError as error:
        raise DataError(f"{folder}: expected a readable folder: {error.strerror}") from error
    return folders, loose


def _parts_of(folders: list[Path]) -> dict[Path, str]:
    """The part of each folder, if all are named as parts, and one at least holds folders.

    Two classes may be called train and test too: those hold images.
    """
    parts = {folder: PART_NAMES.get(folder.name.lower(), "") for folder in folders}
    if "" in parts.values() or not any(_entries_of(folder, Found())[0] for folder in folders):
        return {}
    return parts


def _kind(name: str) -> str:
    return Path(name).suffix.lower() or name


def files_below(folder: Path, root: Path, found: Found) -> list[Path]:
    """Files that may be images, at any depth, sorted; links to folders are followed.

    Folders below that cannot be read, and links that lead back, are left out.

    Raises DataError where `folder` itself cannot be read.
    """

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == folder:  # going on without a whole class would be wrong
            raise DataError(
                f"{folder}: expected a readable folder: {error.strerror}: make it readable, or "
                "move it away"
            ) from error
        path = Path(error.filename).relative_to(root).as_posix()
        found.left_out.append((path, f"expected a readable folder: {error.strerror}"))

    files: list[Path] = []
    # Of each folder where the links to it were, since another may lead back.
    links: dict[Path, tuple[Path, ...]] = {folder: ()}
    for parent, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        folders[:] = sorted(name for name in folders if not found.is_left_behind(name))
        for name in tuple(folders):
            path = Path(parent, name)
            links[path] = links[path.parent]
            if not path.is_symlink():
                continue
            links[path] += (path.parent.resolve(),)
            if any(place.is_relative_to(path.resolve()) for place in links[path]):
                folders.remove(name)
                why = "expected a folder, this link leads back to one that it lies in"
                found.left_out.append((path.relative_to(root).as_posix(), why))
        for name in sorted(names):
            if found.is_left_behind(name):
                continue
            path = Path(parent, name)
            if is_side_file(name):
                found.side_files[_kind(name)] += 1
                continue
            try:
                check_regular(path)
                files.append(path)
            except ImageError as error:
                found.left_out.append((path.relative_to(root).as_posix(), str(error)))
    return files


def _hash(
    root: Path,
    entries: Iterable[Entry],
    names: tuple[str, ...],
    left_out: list[tuple[str, str]],
) -> list[LabelledImage]:
    numbers = {label_of(name): number for number, name in enumerate(names)}
    images = []
    for entry in entries:
        group = entry.group
        try:
            with (root / entry.path).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                dicom = group is None and is_dicom(file.read(HEAD_BYTES))
                if dicom:
                    file.seek(0)
                    group = patient_group(file)
        except OSError as error:
            left_out.append((entry.path, f"expected a readable file: {error.strerror}"))
        else:
            label = numbers[label_of(entry.label)]
            images.append(
                LabelledImage(entry.path, label, digest, group, entry.part, entry.subgroups)
            )
    return images


def _has_lone_group(images: Sequence[LabelledImage]) -> bool:
    """Whether all share one: anonymising gives every patient the same id."""
    groups = {image.group for image in images}
    return len(images) > 1 and len(groups) == 1 and None not in groups


def _part_contradictions(
    images: list[LabelledImage], names: tuple[str, ...], left_out: list[tuple[str, str]]
) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...]]:
    """Parts the images from those whose content stands in two classes: one of them is wrong."""
    by_digest = defaultdict(set)
    for image in images:
        by_digest[image.digest].add(image.label)
    kept: list[LabelledImage] = []
    contradictions: list[LabelledImage] = []
    for image in images:
        others = by_digest[image.digest] - {image.label}
        if others:
            where = listed([names[label] for label in sorted(others)])
            left_out.append((image.path, f"expected one class, the same content is in {where}"))
        (contradictions if others else kept).append(image)
    return tuple(kept), tuple(contradictions)


def listed(names: Iterable[str], most: int = 8) -> str:
    """The first names with commas, and how many more."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
