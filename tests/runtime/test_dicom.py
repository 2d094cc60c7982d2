"""DICOM images: pixels as a viewer shows them, groups, and nothing of the patient."""

import io
import json
import re
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import FILES

from kit.data import SplitSettings, load_dataset, split_dataset
from kit.errors import ImageError, ImageWarning, MissingDependencyError
from kit.runtime.dicom import dicom_facts, patient_group, subgroups_of
from kit.runtime.images import read_image

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom", exc_type=ImportError)

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402
from pydicom.uid import (  # noqa: E402
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    generate_uid,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pydicom"),
]
OWN_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def dicom(stored, photometric="MONOCHROME2", bits=None, signed=None, **elements):
    """A data set around stored values, `[rows, columns]` or `[rows, columns, 3]`."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Rows, data.Columns = stored.shape[:2]
    data.SamplesPerPixel = 3 if stored.ndim == 3 else 1
    if stored.ndim == 3:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = 8 * stored.itemsize
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(stored.dtype.kind == "i" if signed is None else signed)
    for name, value in elements.items():
        setattr(data, name, value)
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OB" if stored.itemsize == 1 else "OW"
    return data


def content(data):
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def grey(data):
    pixels = read_image(content(data))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    return pixels[..., 0].tolist()


def u16(*values):
    return np.array([values], np.uint16)


def i16(*values):
    return np.array([values], np.int16)


def window(center, width, **others):
    return {"WindowCenter": center, "WindowWidth": width, **others}


RESCALE = {"RescaleSlope": 2, "RescaleIntercept": -1000}
IDENTITY = {"RescaleSlope": "1.0", "RescaleIntercept": "0"}
HALVES = (0, 64, 128, 255)  # of 0, 1/4, 1/2 and 1, as 255 times that, halves up


@pytest.mark.parametrize(
    ("stored", "elements", "wanted"),
    [
        # Without a window: from its own range.
        (u16(1000, 1500, 2000, 3000), {}, HALVES),
        (u16(1000, 1500, 2000, 3000), {"bits": 12}, HALVES),
        (i16(-1000, -500, 0, 1000), {}, HALVES),
        (i16(-1000, -500, 0, 1000), RESCALE, HALVES),
        (u16(7, 7), {}, (0, 0)),
        # 8 bits are as they are, as in any other format.
        (np.array([[10, 77, 200]], np.uint8), {}, (10, 77, 200)),
        (np.array([[0, 1, 1]], np.uint8), {"bits": 1}, (0, 255, 255)),
        # A rescale that changes nothing is none.
        (np.array([[10, 77, 200]], np.uint8), IDENTITY, (10, 77, 200)),
        (u16(1000, 1500, 2000, 3000), IDENTITY, HALVES),
        (u16(0, 100, 200, 400, 4000), IDENTITY | window(200.5, 401), (*HALVES, 255)),
        # PS3.3 C.11.2.1.2.1: (x - (c - 0.5)) / (w - 1) + 0.5, clipped. A width of 401 about 200.5
        # goes from 0 to 400.
        (u16(0, 100, 200, 400, 4000), window(200.5, 401), (*HALVES, 255)),
        (i16(-4000, 0, 100, 200, 400), window(200.5, 401), (0, *HALVES)),
        (u16(0, 100, 200, 400), window(200, 400, VOILUTFunction="LINEAR_EXACT"), HALVES),
        (u16(0, 100, 200, 400), window([200.5, 9], [401, 9]), HALVES),
        # 1 / (1 + exp(-4 (x - c) / w)): 0.0180, 0.5, 0.9820.
        (u16(0, 200, 400), window(200, 200, VOILUTFunction="SIGMOID"), (5, 128, 250)),
        # The window is of rescaled values: 500 to 700 are stored, 0 to 400 shown.
        (u16(0, 500, 550, 600, 700), RESCALE | window(200.5, 401), (0, *HALVES)),
        # A negative slope: -x runs from -400 to 0.
        (
            u16(400, 300, 200, 0),
            {"RescaleSlope": -1, "RescaleIntercept": 0} | window(-199.5, 401),
            HALVES,
        ),
        # Padding around the image is no part of its range.
        (i16(-2000, 0, 250, 500, 1000), {"PixelPaddingValue": -2000}, (0, *HALVES)),
        (
            i16(-2000, -1990, 0, 500, 1000),
            {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1900},
            (0, 0, 0, 128, 255),
        ),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_grey(stored, elements, wanted, photometric):
    found = np.array(grey(dicom(stored, photometric, **elements)))[0]
    if photometric == "MONOCHROME1":
        found = 255 - found
    assert found.tolist() == list(wanted)


EMPTY = {
    "RescaleSlope": None,
    "RescaleIntercept": None,
    "WindowCenter": None,
    "WindowWidth": None,
    "VOILUTFunction": "",
    "PixelPaddingValue": None,
    "PixelPaddingRangeLimit": None,
    "ModalityLUTSequence": [],
    "VOILUTSequence": [],
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_element_without_a_value_is_as_none(name):
    """As exporters and anonymisers leave them."""
    elements = {name: EMPTY[name]}
    if name == "VOILUTFunction":
        elements |= window(200.5, 401)
    assert grey(dicom(u16(0, 100, 200, 400), **elements))[0] == list(HALVES)


@pytest.mark.parametrize(("name", "value"), [("RescaleSlope", 2), ("WindowWidth", 9)])
def test_half_of_a_pair_means_nothing(name, value):
    assert grey(dicom(u16(0, 100, 200, 400), **{name: value}))[0] == list(HALVES)


def table(values, first=0, bits=16, kind="OW"):
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.add_new("LUTData", kind, np.array(values, np.uint16).tobytes())
    return Sequence([item])


def test_tables_of_modality_and_value_of_interest():
    stored = u16(10, 11, 12, 13, 500)
    data = dicom(stored, VOILUTSequence=table([0, 1024, 2048, 4095], first=10, bits=12))
    # Values beyond the table take its last entry.
    assert grey(data) == [[0, 64, 128, 255, 255]]
    data = dicom(stored, ModalityLUTSequence=table([0, 100, 200, 400], first=10))
    data.ModalityLUTSequence[0].ModalityLUTType = "US"
    assert grey(data) == [[*HALVES, 255]]


def test_an_enhanced_file_keeps_its_window_in_a_sequence():
    values, voi, group = Dataset(), Dataset(), Dataset()
    values.RescaleSlope, values.RescaleIntercept = 2, -1000
    voi.WindowCenter, voi.WindowWidth = 200.5, 401
    group.PixelValueTransformationSequence = Sequence([values])
    group.FrameVOILUTSequence = Sequence([voi])
    data = dicom(u16(0, 500, 550, 600, 700), SharedFunctionalGroupsSequence=Sequence([group]))
    assert grey(data) == [[0, *HALVES]]


def test_the_first_of_many_frames():
    data = dicom(u16(0, 1, 2, 4))
    data.NumberOfFrames = 2
    data.PixelData = u16(0, 1, 2, 4).tobytes() + u16(9, 9, 9, 9).tobytes()
    with pytest.warns(ImageWarning, match="of a DICOM file with 2 frames the first is taken"):
        assert grey(data) == [list(HALVES)]


def colours():
    return np.random.default_rng(3).integers(0, 256, (6, 5, 3)).astype(np.uint8)


def test_colour():
    assert np.array_equal(read_image(content(dicom(colours(), "RGB"))), colours())
    planar = dicom(colours(), "RGB", PlanarConfiguration=1)
    planar.PixelData = colours().transpose(2, 0, 1).tobytes()
    assert np.array_equal(read_image(content(planar)), colours())
    deep = colours().astype(np.uint16) * 257
    assert np.array_equal(read_image(content(dicom(deep, "RGB"))), colours())
    ybr = np.asarray(Image.fromarray(colours()).convert("YCbCr"))
    found = read_image(content(dicom(ybr, "YBR_FULL")))
    assert np.abs(found.astype(int) - colours()).max() <= 2


def test_palette():
    data = dicom(np.array([[0, 1], [2, 2]], np.uint8), "PALETTE COLOR")
    for name, values in (("Red", (0, 65535, 0)), ("Green", (0, 0, 32896)), ("Blue", (257, 0, 0))):
        descriptor = f"{name}PaletteColorLookupTableDescriptor"
        setattr(data, descriptor, [3, 0, 16])
        data[descriptor].VR = "US"
        setattr(data, f"{name}PaletteColorLookupTableData", np.array(values, np.uint16).tobytes())
    assert read_image(content(data)).tolist() == [
        [[0, 0, 1], [255, 0, 0]],
        [[0, 128, 0], [0, 128, 0]],
    ]


# Other packages' encoders made these of one and the same image.
@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE",
        "MR_small_bigendian",
        "MR_small_implicit",
        "MR_small_jp2klossless",
        "MR_small_jpeg_ls_lossless",
        "MR_small_padded",
    ],
)
def test_lossless_transfer_syntaxes_give_the_same_pixels(name):
    wanted = read_image(OWN_FILES / "MR_small.dcm")
    assert len(np.unique(wanted)) > 50
    assert np.array_equal(read_image(OWN_FILES / f"{name}.dcm"), wanted)


@pytest.mark.parametrize(
    "name", ["SC_rgb_rle", "SC_rgb_rle_16bit", "SC_rgb_jpeg_gdcm", "SC_rgb_jpeg_dcmtk"]
)
def test_colour_bars_of_every_transfer_syntax(name):
    wanted = read_image(OWN_FILES / "SC_ybr_full_422_uncompressed.dcm").astype(int)
    assert np.abs(read_image(OWN_FILES / f"{name}.dcm") - wanted).mean() < 4


def encapsulated(frame, syntax, **elements):
    from pydicom.encaps import encapsulate

    data = dicom(frame, **elements)
    data.file_meta.TransferSyntaxUID = syntax
    jpeg = io.BytesIO()
    Image.fromarray(frame.astype(np.uint8)).save(jpeg, "JPEG", quality=95)
    data.PixelData = encapsulate([jpeg.getvalue()])
    data["PixelData"].VR = "OB"
    return content(data)


def test_jpeg():
    frame = np.asarray(Image.linear_gradient("L").resize((64, 48)))
    found = read_image(encapsulated(frame, JPEGBaseline8Bit))
    assert np.abs(found[..., 0].astype(int) - frame).max() < 6


def j2k(sides=None, components=None):
    """A sound JPEG 2000 file whose codestream then says another size."""
    from pydicom.encaps import encapsulate, generate_frames

    data = pydicom.dcmread(OWN_FILES / "MR_small_jp2klossless.dcm")
    frame = bytearray(next(generate_frames(data.PixelData, number_of_frames=1)))
    at = frame.index(b"\xff\x51")
    if sides:
        frame[at + 6 : at + 14] = struct.pack(">II", *sides)
        frame[at + 22 : at + 30] = struct.pack(">II", *sides)  # of the one tile
    if components:
        frame[at + 38 : at + 40] = struct.pack(">H", components)
    data.PixelData = encapsulate([bytes(frame)], fragments_per_frame=3)
    return data


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (j2k(), None),
        (j2k((65535, 65535)), "65535 x 65535"),
        (j2k((8000, 8000), 12), "8000 x 8000"),
    ],
    ids=["sound", "sides", "components"],
)
def test_a_codestream_that_says_more_pixels_than_fit_is_not_decoded(data, got):
    if got is None:
        assert np.array_equal(read_image(content(data)), read_image(OWN_FILES / "MR_small.dcm"))
        return
    with pytest.raises(ImageError, match=f"at most 89478485 pixels, got {got}: make it smaller"):
        read_image(content(data))


def test_sides_of_more_pixels_than_fit_are_not_decoded():
    data = pydicom.dcmread(OWN_FILES / "SC_rgb_jpeg_dcmtk.dcm")
    data.Rows = data.Columns = 65535
    with pytest.raises(ImageError, match="at most 89478485 pixels, got 65535 x 65535"):
        read_image(content(data))


def test_what_is_deflated_is_inflated_up_to_a_limit(monkeypatch):
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    data = dicom(np.tile(np.arange(256, dtype=np.uint8), (256, 1)), PatientID="7")
    plain = content(data)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated = content(data)
    assert len(deflated) < 3000
    assert np.array_equal(read_image(deflated), read_image(plain))
    assert patient_group(io.BytesIO(deflated)) == patient_group(io.BytesIO(plain)) is not None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="of at most 3000 bytes when it is inflated"):
        read_image(deflated)
    assert patient_group(io.BytesIO(deflated)) is None


def test_a_missing_decoder_is_named(monkeypatch):
    frame = np.zeros((8, 8), np.uint16)
    with pytest.raises(ImageError, match=r"a decoder for JPEG Extended .*pylibjpeg-libjpeg"):
        read_image(encapsulated(frame, JPEGExtended12Bit, bits=12))
    from pydicom.pixels.decoders import JPEGLosslessSV1Decoder

    monkeypatch.setattr(JPEGLosslessSV1Decoder, "_available", {})
    with pytest.raises(
        ImageError, match=r"JPEG Lossless.*pip install 'mobilenet-kit\[dicom\]'"
    ) as e:
        read_image(encapsulated(frame, JPEGLosslessSV1))
    assert "\n" not in str(e.value)


def test_files_without_an_image():
    for name in ("rtplan.dcm", "reportsi.dcm", "waveform_ecg.dcm"):
        with pytest.raises(ImageError, match="got a DICOM file without pixels"):
            read_image(OWN_FILES / name)


def test_damaged_files_only_raise_image_errors():
    whole = content(dicom(np.arange(400, dtype=np.uint16).reshape(20, 20), PatientID="x"))
    random = np.random.default_rng(4)
    failed = 0
    for attempt in range(60):
        damaged = bytearray(whole)
        if attempt % 2:
            for position in random.integers(132, len(whole) - 800, 4):
                damaged[position] = random.integers(0, 256)
        else:
            del damaged[random.integers(140, len(whole)) :]
        try:
            assert read_image(bytes(damaged)).dtype == np.uint8
        except ImageError as error:
            failed += 1
            assert str(error).startswith("expected")
            assert "\n" not in str(error)
    assert failed > 20


@pytest.mark.parametrize(
    ("name", "shape", "mode"),
    [
        ("CT_small", (128, 128, 3), "MONOCHROME2"),
        ("SC_rgb_jpeg", (256, 256, 3), "RGB"),
        ("examples_palette", (350, 800, 3), "PALETTE COLOR"),
    ],
)
def test_shared_files(shared, name, shape, mode):
    path = shared / "images" / "dicom" / f"{name}.dcm"
    pixels = read_image(path, 96)
    assert pixels.shape == shape
    assert np.ptp(pixels) > 100
    assert np.array_equal(read_image(path.read_bytes()), pixels)
    with path.open("rb") as file:
        assert dicom_facts(file) == (mode, shape[1], shape[0])


def test_a_shared_ct_keeps_the_order_of_its_values(shared):
    path = shared / "images" / "dicom" / "CT_small.dcm"
    stored = pydicom.dcmread(path).pixel_array
    assert stored.dtype == np.int16
    pixels = read_image(path)[..., 0].astype(float)
    assert np.corrcoef(stored.ravel(), pixels.ravel())[0, 1] > 0.999


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(data))


PATIENT = {
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "19700131",
    "StudyDate": "20200217",
    "AccessionNumber": "ACC4711",
}


def clinic(root, patients=8, images=3):
    """Images of patients whose names and ids must not show."""
    random = np.random.default_rng(0)
    for patient in range(patients):
        for index in range(images):
            stored = random.integers(0, 4096, (20, 20)).astype(np.uint16)
            data = dicom(stored, bits=12, PatientID=f"ID-4711-{patient}", **PATIENT)
            save(root / "ab"[patient % 2] / f"{patient}_{index}.dcm", data)
    return root


def test_images_of_a_patient_are_in_one_part(tmp_path):
    dataset = load_dataset(clinic(tmp_path, patients=40))
    split = split_dataset(dataset, SplitSettings(0.3, 0.3))
    for patient in range(40):
        assert len({part for path, part in split.items() if f"/{patient}_" in path}) == 1
    assert set(split.values()) == {"train", "validation", "test"}


def test_a_pattern_goes_before_the_patient(tmp_path):
    dataset = load_dataset(clinic(tmp_path, patients=2, images=40))
    split = split_dataset(dataset, SplitSettings(0.3, 0.3, group_regex=r"_(\d+)"))
    assert len({part for path, part in split.items() if "/0_" in path}) == 3


def test_nothing_of_the_patient_is_kept(tmp_path):
    from kit.data.check import check_images, draw_contact_sheet, report_text

    dataset = load_dataset(clinic(tmp_path / "images"))
    report = check_images(tmp_path / "images")
    draw_contact_sheet(dataset, tmp_path / "sheet.png")
    # Digests, the folder's own name and compressed pixels hold short words by chance.
    said = repr(dataset) + json.dumps(report.to_json()) + report_text(report)
    said = re.sub(r"\b[0-9a-f]{64}\b", "", said.replace(str(tmp_path), ""))
    sheet = (tmp_path / "sheet.png").read_bytes()
    assert report.groups == 8
    for secret in ("4711", "Doe", "Jane", "19700131", "20200217"):
        assert secret not in said
    for secret in (b"ID-4711-", *(value.encode() for value in PATIENT.values())):
        assert secret not in sheet
    with Image.open(tmp_path / "sheet.png") as image:
        assert not image.info


def group(**elements):
    return patient_group(io.BytesIO(content(dicom(u16(1, 2), **elements))))


def test_which_group_a_file_is_of():
    study = {"StudyInstanceUID": "1.2.3"}
    assert group(PatientID="A", **study) == group(PatientID=" A ", StudyInstanceUID="1.2.4")
    assert group(PatientID="A") != group(PatientID="B")
    assert group(PatientID="", **study) == group(**study)
    assert group(**study) != group(PatientID="1.2.3")
    assert group(PatientID="") is None
    assert patient_group(io.BytesIO(bytes(128) + b"DICM" + b"\xff" * 50)) is None
    assert group(PatientID="A").isalnum() and len(group(PatientID="A")) == 64


def test_the_id_that_anonymising_gives_to_all_is_no_group(tmp_path):
    for index in range(6):
        data = dicom(u16(index, 9), PatientID="ANON")
        save(tmp_path / "ab"[index % 2] / f"{index}.dcm", data)
    dataset = load_dataset(tmp_path)
    assert {image.group for image in dataset.images} == {None}
    assert any("one and the same group or patient id" in line for line in dataset.warnings)


def test_without_pydicom_a_data_set_says_what_to_install(tmp_path, monkeypatch):
    clinic(tmp_path, patients=2, images=1)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mobilenet-kit\[dicom\]'"):
        load_dataset(tmp_path)


def test_labelling_goes_on_past_a_dicom_file_without_pydicom(
    data, photos, tmp_path, monkeypatch, capsys
):
    from kit.device.command import main

    save(tmp_path / "x.dcm", dicom(u16(1, 2)))
    arguments = [str(data / "red_green_blue_int8.tflite"), str(tmp_path / "x.dcm")]
    assert main(arguments) == 0
    assert "x.dcm: " in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert main([*arguments, str(photos / "red.png")]) == 1
    out, err = capsys.readouterr()
    assert "red.png: red" in out
    assert "x.dcm: expected pydicom 3" in err


@pytest.mark.parametrize(
    "elements",
    [
        window(200, 0),
        window(200, -5),
        window(200, 0.5),
        window(200, 0, VOILUTFunction="LINEAR_EXACT"),
        window(200, 0, VOILUTFunction="SIGMOID"),
        window(200, 400, VOILUTFunction="NO_SUCH"),
        window([200, 9], [0, 9]),
    ],
)
def test_an_impossible_window_costs_a_warning_not_the_image(elements):
    with pytest.warns(ImageWarning, match="impossible window .*: the range of its pixels") as told:
        assert grey(dicom(u16(0, 100, 200, 400), **elements)) == [list(HALVES)]
    assert len(told) == 1


def test_a_window_of_width_1_is_possible():
    assert grey(dicom(u16(0, 100, 200, 400), **window(150.5, 1))) == [[0, 0, 255, 255]]


def test_of_an_image_in_a_folder_the_warning_is_one_line(tmp_path, capfd, monkeypatch):
    from kit.device.command import main

    for number in range(3):
        stored = np.arange(400, dtype=np.uint16).reshape(20, 20) + number
        data = dicom(stored, **window(200, 0))
        (tmp_path / f"{number}.dcm").write_bytes(content(data))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main([str(FILES / "red_green_blue_int8.tflite"), str(tmp_path)]) == 0
    assert capfd.readouterr().err.splitlines() == [
        "warning: a DICOM file has an impossible window (width 0, LINEAR): the range of its pixels "
        "is taken instead"
    ]


@pytest.mark.parametrize(
    ("elements", "told"),
    [
        (
            {"PatientSex": "f", "PatientAge": "034Y", "Manufacturer": " Acme "},
            {"sex": "F", "age_band": "18 to 39", "manufacturer": "Acme"},
        ),
        (
            {"PatientAge": "006M", "ManufacturerModelName": "X 1"},
            {"age_band": "under 18", "model": "X 1"},
        ),
        ({"PatientAge": "090Y"}, {"age_band": "65 and over"}),
        ({"PatientAge": "040Y"}, {"age_band": "40 to 64"}),
        ({}, {}),
    ],
)
def test_what_figures_may_be_compared_by(elements, told):
    """Bands and makes, and nothing that tells one person from another."""
    file = content(dicom(np.zeros((4, 4), np.uint8), PatientName="Adam", PatientID="7", **elements))
    assert subgroups_of(io.BytesIO(file)) == told
    assert subgroups_of(io.BytesIO(b"no DICOM")) == {}


def test_subgroups_of_a_folder_of_dicom_files(tmp_path):
    from kit.data import DataSettings

    for number, (label, sex) in enumerate(
        (("ill", "F"), ("ill", "M"), ("well", "F"), ("well", ""))
    ):
        (tmp_path / label).mkdir(exist_ok=True)
        pixels = np.full((4, 4), number, np.uint8)
        elements = {"PatientSex": sex} if sex else {}
        (tmp_path / label / f"{number}.dcm").write_bytes(content(dicom(pixels, **elements)))
    dataset = load_dataset(tmp_path, DataSettings(subgroup_columns="sex,model"))
    assert [image.subgroups for image in dataset.images] == [
        (("sex", sex), ("model", "")) for sex in ("F", "M", "F", "")
    ]
