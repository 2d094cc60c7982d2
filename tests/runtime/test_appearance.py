"""Brightness, contrast and sharpness of what a model sees."""

import numpy as np
import pytest

from kit.runtime.appearance import appearance_of
from kit.runtime.self_test import draw_pattern


def grey(luma):
    return np.repeat(np.asarray(luma, np.uint8)[:, :, None], 3, axis=2)


def test_plain_images():
    assert appearance_of(grey(np.zeros((8, 8)))) == (0, 0, 0)
    assert appearance_of(grey(np.full((8, 8), 255))) == (1, 0, 0)
    board = grey(np.indices((8, 8)).sum(axis=0) % 2 * 255)
    assert appearance_of(board) == (0.5, 0.5, 4)


def test_it_is_that_of_floating_point():
    luma = np.random.default_rng(0).integers(0, 256, (37, 52))
    found = appearance_of(grey(luma))
    assert found.brightness == pytest.approx(luma.mean() / 255)
    assert found.contrast == pytest.approx(luma.std() / 255)
    total = 0.0
    for row in range(1, 36):
        for column in range(1, 51):
            around = luma[row - 1, column] + luma[row + 1, column]
            around += luma[row, column - 1] + luma[row, column + 1]
            total += abs(4 * luma[row, column] - around)
    assert found.sharpness == pytest.approx(total / (35 * 50) / 255)


def test_each_change_moves_what_it_is_named_for():
    before = appearance_of(draw_pattern(0))
    darker = appearance_of(np.asarray(draw_pattern(0) * 0.6, np.uint8))
    assert darker.brightness == pytest.approx(0.6 * before.brightness, abs=0.01)
    assert darker.contrast == pytest.approx(0.6 * before.contrast, abs=0.01)
    pixels = draw_pattern(0).astype(float)
    blurred = sum(np.roll(pixels, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9
    soft = appearance_of(np.asarray(blurred, np.uint8))
    assert soft.sharpness < before.sharpness / 2
    assert soft.brightness == pytest.approx(before.brightness, abs=0.01)


def test_the_smallest_images():
    assert appearance_of(grey([[255]])) == (1, 0, 0)
    assert appearance_of(grey([[0, 255]])) == (0.5, 0.5, 0)
