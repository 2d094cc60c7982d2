"""What the recipes stand for."""

import pytest

from kit.training.augment import AUGMENTATIONS
from kit.training.layers import ALL, MOST, NONE
from kit.training.recipes import RECIPES, LearnSettings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"augment": "rainbow"}, "expected an augmentation of none, photo, .*got 'rainbow'"),
        ({"variants": -1}, "expected variants of at least 0, got -1"),
    ],
)
def test_impossible_learn_settings(wrong, said):
    with pytest.raises(ValueError, match=said):
        LearnSettings(**wrong)


def test_the_quick_recipe_is_the_head_alone():
    quick = RECIPES["quick"]
    assert quick == LearnSettings()
    assert quick.fine_tune.layers == NONE
    assert quick.augmentation == AUGMENTATIONS["none"]


def test_the_best_recipe_smooths_head_and_network_alike():
    best = RECIPES["best"]
    assert best.fine_tune.layers == MOST != ALL
    assert best.augmentation == AUGMENTATIONS["photo"]
    tuning = best.fine_tune.fitting
    assert best.fitting.label_smoothing == tuning.label_smoothing > 0
    assert tuning.schedule == "cosine"
