"""The tables of quantisation modes name the same modes."""

from converters.tflite import MODES_WITH_EIGHT_BIT_WEIGHTS, MODES_WITH_REPRESENTATIVE_DATASET
from kit.export.exporter import AUTO_MODES, GOLDEN_TOLERANCE
from kit.model.spec import QUANTIZATION_MODES


def test_every_mode_has_a_tolerance_and_no_other():
    assert tuple(GOLDEN_TOLERANCE) == QUANTIZATION_MODES


def test_other_tables_name_modes_that_exist():
    for table in (AUTO_MODES, MODES_WITH_EIGHT_BIT_WEIGHTS, MODES_WITH_REPRESENTATIVE_DATASET):
        assert set(table) <= set(QUANTIZATION_MODES)
