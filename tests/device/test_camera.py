"""`kit-label --camera`, with stand-ins for picamera2 and OpenCV, and a real video by OpenCV."""

import csv
import json
import os
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from kit.device.camera import label_frames, open_camera
from kit.device.command import main
from kit.errors import CameraError
from kit.runtime import Classifier

PI_CAMERA = {"Model": "imx708", "Id": "/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a"}
USB_CAMERA = {"Model": "Webcam", "Id": "/base/axi/pcie@120000/rp1/usb@200000-1:1.0-046d:0825"}
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def frame(colour):
    return np.full((48, 64, 3), COLOURS[colour], np.uint8)


class Picamera2:
    """As much of picamera2's as is used."""

    cameras, colours, closed, fails = [PI_CAMERA], [], 0, None

    @classmethod
    def global_camera_info(cls):
        return cls.cameras

    def __init__(self):
        if self.fails == "start":
            raise RuntimeError("Camera __init__ sequence\ndid not complete.")
        self.left = [*self.colours]

    def create_video_configuration(self, main):
        assert main["format"] == "BGR888"
        return main

    def configure(self, configuration):
        self.shape = (*configuration["size"][::-1], 3)

    def start(self):
        self.started = True

    def capture_array(self, name):
        assert self.started and name == "main"
        if not self.left:
            raise RuntimeError("timed out")
        return np.broadcast_to(np.array(COLOURS[self.left.pop(0)], np.uint8), self.shape)

    def close(self):
        type(self).closed += 1


@pytest.fixture
def pi_camera(monkeypatch):
    """The Pi's own camera, giving red, red, blue."""
    kind = type("Picamera2", (Picamera2,), {"colours": ["red", "red", "blue"]})
    module = ModuleType("picamera2")
    module.Picamera2 = kind
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return kind


@pytest.fixture
def no_packages(monkeypatch):
    for name in ("picamera2", "cv2"):
        monkeypatch.setitem(sys.modules, name, None)


def opencv(frames, opened=True):
    """As much of OpenCV as is used: a camera that gives frames in blue, green, red."""
    left, calls = [*frames], []

    class VideoCapture:
        def __init__(self, path):
            calls.append(("open", path))

        def isOpened(self):  # noqa: N802
            return opened

        def set(self, name, value):
            calls.append((name, value))

        def get(self, name):
            return 10.0

        def grab(self):
            calls.append("grab")

        def read(self):
            return (True, frame(left.pop(0))[..., ::-1]) if left else (False, None)

        def release(self):
            calls.append("release")

    return SimpleNamespace(
        VideoCapture=VideoCapture,
        CAP_PROP_FPS="fps",
        CAP_PROP_FRAME_WIDTH="width",
        CAP_PROP_FRAME_HEIGHT="height",
        COLOR_BGR2RGB="swap",
        cvtColor=lambda pixels, code: np.ascontiguousarray(pixels[..., ::-1]),
        calls=calls,
    )


def loader(**packages):
    def load(name):
        if name not in packages:
            raise ImportError(name)
        return packages[name]

    return load


def test_the_pis_own_camera(pi_camera, model, capsys):
    arguments = [str(model), "--camera", "--every", "0", "--smooth", "1", "--format", "json"]
    assert main(arguments) == 1  # when it gives no more
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["image"] for row in rows] == ["frame 1", "frame 2", "frame 3"]
    assert [row["categories"][0]["label"] for row in rows] == ["red", "red", "blue"]
    assert err == "kit-label: expected another frame, the camera gives none: timed out\n"
    assert pi_camera.closed == 1


def test_the_pis_own_camera_comes_before_a_usb_camera(pi_camera):
    pi_camera.cameras = [PI_CAMERA, USB_CAMERA]
    with open_camera(every=0) as frames:
        assert (next(frames)[0, 0] == COLOURS["red"]).all()
    assert pi_camera.closed == 1


def test_frames_into_the_results_file(pi_camera, model, tmp_path, capsys):
    output = tmp_path / "results.csv"
    for _ in range(2):
        arguments = ["--camera", "--every", "0", "--smooth", "1", "--output", str(output)]
        assert main([str(model), *arguments]) == 1
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["red", "red", "blue"] * 2
    assert rows[0]["image"] == "frame 1" and rows[0]["modified_ns"] == ""


def test_a_camera_that_does_not_start(pi_camera, model, capsys):
    pi_camera.fails = "start"
    assert main([str(model), "--camera"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "did not complete.: is another program reading it?" in err


def test_frames_come_every_so_many_seconds(pi_camera):
    slept = []
    with open_camera(every=2.5, sleep=slept.append) as frames:
        next(frames), next(frames)
        assert slept == [2.5]
        with pytest.raises(CameraError):
            list(frames)
    assert slept == [2.5] * 3


def test_smoothing_is_the_mean_of_the_last_frames(model):
    frames = [frame(colour) for colour in ("red", "red", "blue", "red", "blue", "blue")]
    with Classifier.open(model) as classifier:
        plain = [classifier.scores(pixels) for pixels in frames]
        for smooth in (1, 3, 99):
            smoothed = list(label_frames(classifier, iter(frames), smooth))
            for index, found in enumerate(smoothed):
                mean = np.mean(plain[max(0, index + 1 - smooth) : index + 1], axis=0)
                scores = {c.index: c.score for c in found.categories}
                assert [scores[i] for i in range(3)] == pytest.approx(list(mean), abs=1e-6)
        with pytest.raises(ValueError, match="1 frame or more"):
            label_frames(classifier, frames, 0)


@pytest.mark.parametrize("cameras", ["no camera", "a USB camera", "no package"])
def test_without_picamera_a_v4l2_device_is_read(pi_camera, tmp_path, cameras, monkeypatch):
    pi_camera.cameras = [USB_CAMERA] if cameras == "a USB camera" else []
    real = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/dev/video0" or real(path))
    cv2, slept = opencv(["red", "green"]), []
    packages = {"cv2": cv2}
    if cameras != "no package":
        packages["picamera2"] = SimpleNamespace(Picamera2=pi_camera)
    with open_camera(every=1, sleep=slept.append, load=loader(**packages)) as frames:
        assert (next(frames) == frame("red")).all()
        assert (next(frames) == frame("green")).all()
        # What the driver held for the second that was waited is old.
        assert slept == [1] and cv2.calls.count("grab") == 4
        with pytest.raises(CameraError, match=r"/dev/video0: expected another frame.*unplugged"):
            next(frames)
    assert cv2.calls[0] == ("open", "/dev/video0") and cv2.calls[-1] == "release"


def test_a_video_is_read_in_its_own_time(tmp_path):
    video = tmp_path / "video.avi"
    video.touch()
    cv2 = opencv(["red", "green", "blue"])
    with open_camera(str(video), 0.5, sleep=pytest.fail, load=loader(cv2=cv2)) as frames:
        assert len(list(frames)) == 3
    assert cv2.calls.count("grab") == 3 * 4  # 10 frames a second: each fifth


@pytest.mark.parametrize("device", [[], ["--device", "/dev/video77"]])
def test_no_camera_is_told_in_one_line(no_packages, model, capsys, device):
    if not device and Path("/dev/video0").exists():
        pytest.skip("this machine has a camera")
    assert main([str(model), "--camera", *device]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("kit-label: expected a camera, found none (/dev/video")


def test_nothing_to_read_a_camera_with(no_packages, model, tmp_path, capsys):
    assert main([str(model), "--camera", "--device", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "sudo apt-get install python3-picamera2" in err


def test_a_device_that_is_no_camera(tmp_path):
    with (
        pytest.raises(CameraError, match="OpenCV opens none"),
        open_camera(str(tmp_path), load=loader(cv2=opencv([], opened=False))),
    ):
        pass


@pytest.mark.parametrize(
    "arguments",
    [
        ["--camera", "x.png"],
        ["--camera", "--watch", "in", "--output", "r.csv"],
        ["--camera", "--every", "-1"],
        ["--camera", "--smooth", "0", "--device", "DEVICE"],
        ["--camera", "--explain", "x/"],
        ["--camera", "--benchmark"],
        ["--device", "/dev/video0", "x.png"],
        ["--every", "3", "x.png"],
        ["--smooth", "3", "x.png"],
    ],
    ids=" ".join,
)
def test_mistakes_on_the_command_line(model, tmp_path, capsys, monkeypatch, arguments):
    monkeypatch.setitem(sys.modules, "cv2", opencv(["red"]))
    arguments = [str(tmp_path) if text == "DEVICE" else text for text in arguments]
    try:
        status = main([str(model), *arguments])
    except SystemExit as left:
        status = left.code
    out, err = capsys.readouterr()
    assert status == 2 and out == "" and "kit-label:" in err


def test_a_real_video(model, tmp_path, capsys):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    video = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for colour in ("red", "green", "blue"):
        for _ in range(10):
            writer.write(np.ascontiguousarray(frame(colour)[..., ::-1]))
    writer.release()
    arguments = ["--camera", "--device", str(video), "--smooth", "1", "--format", "json"]
    assert main([str(model), *arguments, "--every", "0.5"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    labels = [row["categories"][0]["label"] for row in rows]
    assert labels == ["red", "red", "green", "green", "blue", "blue"]
    text = tmp_path / "text.avi"
    text.write_text("no video")
    assert main([str(model), "--camera", "--device", str(text)]) == 1
    assert "OpenCV opens none" in capsys.readouterr().err


def test_the_camera_is_closed_when_the_reader_stops(pi_camera, model):
    with Classifier.open(model) as classifier, open_camera(every=0) as frames:
        with closing(label_frames(classifier, frames)) as results:
            assert next(results).categories[0].label == "red"
        assert pi_camera.closed == 0
    assert pi_camera.closed == 1
