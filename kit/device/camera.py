"""Frames of a camera, and their labels.

The Raspberry Pi's own camera is read by picamera2, which its system brings; a USB camera (V4L2) or
a video file by OpenCV, if it is installed. Both are imported when a camera is asked for.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from kit.errors import CameraError
from kit.model.preprocess import Pixels
from kit.runtime.classifier import Answer, Classification, Classifier

SIZE = (640, 480)
"""Width and height that a camera is asked for, in pixels; it may give others."""
EVERY_SECONDS = 1.0
SMOOTHED_FRAMES = 3
_BUFFERED = 4  # frames that a V4L2 driver holds: old ones, where the last look was a while ago
_INSTALL = "sudo apt-get install python3-picamera2 (the Pi's own) or python3-opencv (USB)"


@contextmanager
def open_camera(
    device: str | None = None,
    every: float = EVERY_SECONDS,
    *,
    sleep: Callable[[float], None] = time.sleep,
    load: Callable[[str], Any] = import_module,
) -> Iterator[Iterator[Pixels]]:
    """Frames, one each `every` seconds, uint8 `[height, width, 3]`, RGB.

    Args:
        device: a V4L2 device such as `/dev/video0`, or a video file, whose frames are taken `every`
            seconds of its own time; default: the Pi's own camera, else /dev/video0.
        every: seconds between frames, 0 or more.
        sleep: waits so many seconds.
        load: imports a package by its name.

    Raises:
        CameraError: there is no camera, or nothing to read it with, or it stops giving frames.
        ValueError: `every` is below 0.
    """
    if not every >= 0:
        raise ValueError(f"expected 0 or more seconds between frames, got {every:g}")
    if device is None:
        camera = _open_picamera(load)
        if camera is not None:
            try:
                yield _picamera_frames(camera, every, sleep)
            finally:
                camera.close()
            return
    path = device or "/dev/video0"
    if not os.path.exists(path):
        raise CameraError(f"expected a camera, found none ({path}): plug one in, or give --device")
    try:
        cv2 = load("cv2")
    except ImportError as error:
        raise CameraError(
            f"expected a package to read {path} with, found no picamera2 with a camera and no "
            f"OpenCV: {_INSTALL}"
        ) from error
    capture = cv2.VideoCapture(path)
    try:
        if not capture.isOpened():
            raise CameraError(
                f"{path}: expected a camera or a video, OpenCV opens none: is another program "
                "reading it?"
            )
        yield _video_frames(cv2, capture, path, every, sleep)
    finally:
        capture.release()


def _open_picamera(load: Callable[[str], Any]) -> Any:
    """The Pi's own camera; None where there is none or picamera2 is missing."""
    try:
        kind = load("picamera2").Picamera2
    except ImportError:
        return None
    # It lists USB cameras too, after the Pi's own, and takes the first.
    if all("/usb" in info.get("Id", "") for info in kind.global_camera_info()):
        return None
    try:
        camera = kind()
        # libcamera's BGR888 is red, green, blue in memory.
        main = {"format": "BGR888", "size": SIZE}
        camera.configure(camera.create_video_configuration(main=main))
        camera.start()
    except (RuntimeError, IndexError) as error:
        raise CameraError(
            f"expected the camera to start, it does not: {' '.join(str(error).split())}: is "
            "another program reading it?"
        ) from error
    return camera


def _picamera_frames(camera: Any, every: float, sleep: Callable[[float], None]) -> Iterator[Pixels]:
    while True:
        try:
            yield np.asarray(camera.capture_array("main"))
        except (RuntimeError, TimeoutError) as error:
            raise CameraError(f"expected another frame, the camera gives none: {error}") from error
        sleep(every)


def _video_frames(
    cv2: Any, capture: Any, path: str, every: float, sleep: Callable[[float], None]
) -> Iterator[Pixels]:
    recorded = os.path.isfile(path)
    if recorded:
        skipped = max(0, round(every * (capture.get(cv2.CAP_PROP_FPS) or 0)) - 1)
    else:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, SIZE[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, SIZE[1])
        skipped = _BUFFERED if every else 0
    while True:
        read, frame = capture.read()
        if not read:
            if recorded:
                return
            raise CameraError(f"{path}: expected another frame, got none: was it unplugged?")
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if not recorded:
            sleep(every)
        for _ in range(skipped):
            capture.grab()


def label_frames(
    classifier: Classifier, frames: Iterable[Pixels], smooth: int = SMOOTHED_FRAMES
) -> Iterator[Classification]:
    """Labels each frame by the mean scores of the last `smooth` ones.

    Args:
        classifier: the model.
        frames: uint8 `[height, width, 3]`, RGB.
        smooth: frames, at least 1, which is no smoothing.

    Returns:
        an iterator of classifications, their images named `frame 1` and up.

    Raises:
        ValueError: `smooth` is below 1.
        InferenceError: the model fails when it runs.
    """
    if smooth < 1:
        raise ValueError(f"expected to smooth over 1 frame or more, got {smooth}")
    return _smoothed(classifier, frames, smooth)


def _smoothed(
    classifier: Classifier, frames: Iterable[Pixels], smooth: int
) -> Iterator[Classification]:
    last: deque[Answer] = deque(maxlen=smooth)
    for number, frame in enumerate(frames, 1):
        last.append(classifier.answer(frame))
        scores = np.asarray(np.mean([answer.scores for answer in last], axis=0), np.float32)
        unfamiliar = [a.unfamiliarity for a in last if a.unfamiliarity is not None]
        mean = float(np.mean(unfamiliar)) if unfamiliar else None
        yield classifier.classification(
            f"frame {number}", Answer(scores, mean, last[-1].appearance)
        )
