"""Batch normalisation in one kernel is Keras' own, but for the time that it takes."""

import numpy as np
import pytest

from kit.training.backbones import on_input
from kit.training.batch_normalization import fused

pytestmark = pytest.mark.tf

SHAPE = (6, 5, 4, 3)


def a_layer(**settings):
    """A layer with statistics and weights of its own, and the model around it."""
    import keras

    keras.utils.set_random_seed(1)
    random = keras.initializers.RandomUniform(0.5, 2)
    layer = keras.layers.BatchNormalization(
        momentum=0.9,
        beta_initializer=random,
        gamma_initializer=random,
        moving_mean_initializer=random,
        moving_variance_initializer=random,
        **settings,
    )
    inputs = keras.Input(SHAPE[1:])
    return layer, keras.Model(inputs, layer(inputs))


def on_any_size(model, instead):
    import keras

    return on_input(keras.Input((None, None, SHAPE[-1])), model, instead)


def learnt(model, layer, training):
    """Its output, the gradients of input, scale and offset, and the statistics after it."""
    import tensorflow

    values = tensorflow.constant(np.random.default_rng(0).normal(3, 2, SHAPE).astype(np.float32))
    weights = np.random.default_rng(1).normal(size=SHAPE)
    with tensorflow.GradientTape() as tape:
        tape.watch(values)
        output = model(values, training=training)
        loss = tensorflow.reduce_sum(output * weights)
    gradients = tape.gradient(loss, [values, layer.gamma.value, layer.beta.value])
    statistics = [layer.moving_mean, layer.moving_variance]
    return [np.array(value) for value in (output, *gradients, *statistics)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("trainable", [True, False])
def test_it_computes_learns_and_remembers_what_keras_does(training, trainable):
    outcomes = []
    for instead in (lambda layer: layer, fused):
        layer, model = a_layer()
        layer.trainable = trainable
        other = on_any_size(model, instead)
        assert (other.layers[-1] is layer) == (instead is not fused)
        outcomes.append(learnt(other, layer, training))
    for one, other in zip(*outcomes, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)
    moved = not np.allclose(outcomes[1][-1], a_layer()[0].moving_variance)
    assert moved == (training and trainable)


def test_it_has_the_variables_of_the_layer_in_their_order():
    layer, model = a_layer()
    other = on_any_size(model, fused)
    assert [id(one) for one in other.weights] == [id(one) for one in model.weights]
    layer.trainable = False
    assert other.trainable_variables == []


@pytest.mark.parametrize("settings", [{"axis": 1}, {"scale": False}, {"center": False}])
def test_what_the_kernel_cannot_do_stays_with_keras(settings):
    layer, _ = a_layer(**settings)
    assert fused(layer) is layer


def test_other_layers_and_rows_are_left_as_they_are():
    import keras

    dense = keras.layers.Dense(2)
    rows = keras.layers.BatchNormalization()
    rows(keras.Input((4,)))
    assert (fused(dense), fused(rows)) == (dense, rows)
