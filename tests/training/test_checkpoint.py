"""A checkpoint holds one whole epoch, whatever happens to the process or the files."""

import json

import numpy as np
import pytest

from kit.errors import TrainingError
from kit.training import checkpoint as module
from kit.training.checkpoint import Checkpoint

pytestmark = pytest.mark.tf

FACTS = {"images": "abc", "learning": {"epochs": 3, "rate": 0.1}}


def record(epoch):
    return {"accuracy": 0.5 + epoch / 100, "cross_entropy": 1 / (epoch + 1)}


@pytest.fixture
def network():
    """A small compiled network with everything that has a state: `network(seed)`."""
    import keras

    def made(seed=0):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((4,))
        hidden = keras.layers.BatchNormalization()(keras.layers.Dense(3)(inputs))
        outputs = keras.layers.Dense(2)(keras.layers.Dropout(0.5, seed=1)(hidden))
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", run_eagerly=True)
        return model

    return made


def a_step(model, seed=0):
    random = np.random.default_rng(seed)
    model.train_on_batch(random.normal(size=(8, 4)), random.normal(size=(8, 2)))


def state(model):
    return [np.asarray(variable) for variable in (*model.variables, *model.optimizer.variables)]


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


@pytest.fixture
def saved(tmp_path, network):
    """A folder with two epochs, and the state after the second and the best weights of it."""
    model = network()
    kept = Checkpoint(tmp_path / "kept", FACTS, resume=False)
    a_step(model)
    best = model.get_weights()
    kept.save(model, best, [record(0)])
    a_step(model, 1)
    kept.save(model, best, [record(0), record(1)])
    return tmp_path / "kept", state(model), best


def arrays(folder):
    return sorted(path.name for path in folder.glob("*.npz"))


# ---------------------------------------------------------------- what is kept


def test_nothing_is_kept_before_the_first_epoch(tmp_path):
    kept = Checkpoint(tmp_path / "kept", FACTS, resume=True)
    assert kept.history == []
    assert not (tmp_path / "kept").exists()
    kept.discard()


def test_an_epoch_comes_back(saved, network):
    folder, expected, best = saved
    again = Checkpoint(folder, FACTS, resume=True)
    assert again.history == [record(0), record(1)]
    model = network(seed=5)
    assert not same(state(model), expected)
    assert same(again.restore(model), best)
    assert same(state(model), expected)


def test_training_goes_on_as_if_nothing_had_happened(saved, network):
    """Momentum, the count of steps and what dropout draws next are all restored."""
    folder, _, _ = saved
    uninterrupted = network()
    for step in range(4):
        a_step(uninterrupted, step)
    resumed = network(seed=5)
    Checkpoint(folder, FACTS, resume=True).restore(resumed)
    for step in (2, 3):
        a_step(resumed, step)
    assert same(state(resumed), state(uninterrupted))


def test_only_the_last_epoch_s_files_are_kept(saved):
    folder, _, _ = saved
    assert len(arrays(folder)) == 2
    assert sorted(path.name for path in folder.iterdir()) == [*arrays(folder), "state.json"]


def test_a_history_that_was_asked_for_cannot_be_changed(saved):
    kept = Checkpoint(saved[0], FACTS, resume=True)
    kept.history.append(record(9))
    assert len(kept.history) == 2


# ---------------------------------------------------------------- whose it is


@pytest.mark.parametrize(
    "other", [{**FACTS, "images": "abd"}, {**FACTS, "learning": {"epochs": 4, "rate": 0.1}}, {}]
)
def test_another_run_s_is_refused(saved, other):
    with pytest.raises(TrainingError, match="expected the checkpoint of this run") as caught:
        Checkpoint(saved[0], other, resume=True)
    assert str(saved[0]) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(arrays(saved[0])) == 2  # refused, not touched


def test_the_order_of_facts_is_none(saved):
    assert len(Checkpoint(saved[0], dict(reversed(FACTS.items())), resume=True).history) == 2


def test_without_resume_it_is_left_alone_until_the_first_epoch_replaces_it(saved, network):
    folder, expected, _ = saved
    new = Checkpoint(folder, {"another": "run"}, resume=False)
    assert new.history == []
    model = network(seed=5)
    Checkpoint(folder, FACTS, resume=True).restore(model)
    assert same(state(model), expected)
    a_step(model, 3)
    new.save(model, model.get_weights(), [record(7)])
    assert Checkpoint(folder, {"another": "run"}, resume=True).history == [record(7)]
    assert len(arrays(folder)) == 2
    with pytest.raises(TrainingError):
        Checkpoint(folder, FACTS, resume=True)


# ---------------------------------------------------------------- a process that ends midway


class Killed(BaseException):
    """Nothing catches it."""


@pytest.mark.parametrize("same_run", [True, False])
@pytest.mark.parametrize("moment", range(5))
def test_a_kill_at_any_moment_leaves_the_last_whole_epoch(
    saved, network, monkeypatch, moment, same_run
):
    """Killed before each step of a third epoch, or of another run's second, as long as it is."""
    folder, expected, best = saved
    steps = []

    def killing(real):
        def step(*arguments, **options):
            if len(steps) == moment:
                raise Killed
            steps.append(real)
            return real(*arguments, **options)

        return step

    model = network(seed=6)
    a_step(model, 5)
    facts, history = (
        (FACTS, [record(0), record(1), record(2)])
        if same_run
        else ({"another": "run"}, [record(5), record(6)])
    )
    kept = Checkpoint(folder, facts, resume=same_run)
    with monkeypatch.context() as patched:
        patched.setattr(module.np, "savez", killing(np.savez))
        patched.setattr(module.Path, "replace", killing(module.Path.replace))
        patched.setattr(module, "write_beside", killing(module.write_beside))
        with pytest.raises(Killed):
            kept.save(model, model.get_weights(), history)
    assert len(steps) == moment
    restored = network()
    again = Checkpoint(folder, FACTS, resume=True)
    assert same(again.restore(restored), best)
    assert same(state(restored), expected)
    assert again.history == [record(0), record(1)]
    again.save(restored, best, [record(0), record(1), record(2)])
    assert len(arrays(folder)) == 2  # what the killed one left is gone


def test_a_kill_before_tidying_up_leaves_the_new_epoch(saved, network, monkeypatch):
    folder, _, _ = saved
    model = network(seed=6)
    a_step(model, 5)
    best = model.get_weights()
    kept = Checkpoint(folder, FACTS, resume=True)
    with monkeypatch.context() as patched:
        patched.setattr(module.Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            kept.save(model, best, [record(0), record(1), record(2)])
    again = Checkpoint(folder, FACTS, resume=True)
    assert len(again.history) == 3
    restored = network()
    again.restore(restored)
    assert same(state(restored), state(model))
    again.save(restored, best, [record(0)] * 4)
    assert len(arrays(folder)) == 2


def test_half_written_files_do_no_harm(saved, network):
    folder, expected, _ = saved
    (folder / "partial-last.npz").write_bytes(b"PK half")
    (folder / ".state.json.partial-x").write_bytes(b"{")
    model = network(seed=5)
    Checkpoint(folder, FACTS, resume=True).restore(model)
    assert same(state(model), expected)


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1, 2]", b"\xff\xfe", b"{}", b'{"key": "x"}', b"null"]
)
def test_a_damaged_state_is_refused(saved, content):
    folder, _, _ = saved
    (folder / "state.json").write_bytes(content)
    with pytest.raises(TrainingError, match="expected a checkpoint that can be read") as caught:
        Checkpoint(folder, FACTS, resume=True)
    assert "\n" not in str(caught.value)


def missing(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-200])


def garbage(path):
    path.write_bytes(b"no archive " * 100)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"NUMPY") + 130] ^= 0x10  # in the first array's numbers
    path.write_bytes(content)


def too_few(path):
    with np.load(path) as stored:
        kept = [stored[name] for name in stored.files[:-1]]
    np.savez(path, *kept)


def another_shape(path):
    with np.load(path) as stored:
        kept = [stored[name] for name in stored.files]
    np.savez(path, kept[0][:1], *kept[1:])


@pytest.mark.parametrize("kind", ["last", "best"])
@pytest.mark.parametrize(
    "damage", [missing, empty, cut_off, garbage, flipped, too_few, another_shape]
)
def test_damaged_arrays_are_refused(saved, network, kind, damage):
    folder, _, _ = saved
    (path,) = folder.glob(f"{kind}-*.npz")
    damage(path)
    again = Checkpoint(folder, FACTS, resume=True)
    with pytest.raises(TrainingError, match=r"got a damaged one .*delete the folder") as caught:
        again.restore(network())
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- the end


def test_discard_leaves_nothing(saved):
    folder, _, _ = saved
    kept = Checkpoint(folder, FACTS, resume=True)
    kept.discard()
    assert not folder.exists()
    assert kept.history == []
    assert Checkpoint(folder, FACTS, resume=True).history == []


def test_discard_leaves_what_others_put_there(saved):
    folder, _, _ = saved
    (folder / "notes.txt").write_text("mine")
    Checkpoint(folder, FACTS, resume=True).discard()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_discard_by_a_run_that_kept_nothing_leaves_another_run_s(saved):
    folder, _, _ = saved
    Checkpoint(folder, {"another": "run"}, resume=False).discard()
    assert len(Checkpoint(folder, FACTS, resume=True).history) == 2


def test_the_state_is_plain_json(saved):
    found = json.loads((saved[0] / "state.json").read_text("utf-8"))
    assert found["history"] == [record(0), record(1)]
    assert sorted(found["files"].values(), reverse=True) == arrays(saved[0])[::-1]
