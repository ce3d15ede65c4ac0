"""Language models: what they compute, what can be pruned, what is refused."""

import keras
import numpy as np
import pytest

from tf_lottery import Ticket
from tf_lottery import analysis
from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery import prune
from tf_lottery import strip_masks
from tf_lottery.layers import get_state
from tf_lottery.models import MODELS
from tf_lottery.models import build_model
from tf_lottery.models.registry import KINDS

LENGTH, SIZE = 6, 7
NAMES = sorted(name for name in MODELS if KINDS[name] == "text")
SMALL = ["lstm_lm", "transformer_lm"]
LSTM = [
    f"lstm_{i}/lstm_cell/{kernel}"
    for i in (1, 2) for kernel in ("kernel", "recurrent_kernel")
]
PATHS = {
    "lstm_lm": ["embedding/embeddings", *LSTM, "output/kernel"],
    "transformer_lm": [
        "embedding/embeddings",
        "positions/embeddings",
        *(
            f"{layer}/kernel"
            for i in (1, 2)
            for layer in (
                *(
                    f"attention_{i}/{part}"
                    for part in ("query", "key", "value", "attention_output")
                ),
                f"block_{i}_hidden",
                f"block_{i}_output",
            )
        ),
        "output/kernel",
    ],
}
TOKENS = np.random.default_rng(0).integers(0, SIZE, (3, LENGTH))


def build(name):
    return build_model(name, (LENGTH,), SIZE, seed=0)


@pytest.fixture(scope="module")
def pruned():
    made = {}
    for name in SMALL:
        made[name] = mask_model(build(name))
        prune(made[name], 0.7, "random", seed=3)
    return made


def outputs(model, tokens=TOKENS):
    return np.asarray(model(tokens, training=False))


@pytest.mark.parametrize("name", SMALL)
def test_every_kernel_can_be_pruned(name, pruned):
    assert sorted(get_mask(pruned[name])) == sorted(PATHS[name])


@pytest.mark.parametrize("name", SMALL)
def test_variants_have_the_same_kernels_and_dropout(name):
    model = build(f"{name}_dropout")
    assert sorted(get_mask(mask_model(model))) == sorted(PATHS[name])
    rates = [
        x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)
    ]
    expected = [0.2] * 3 if name == "lstm_lm" else [0.1] * 4
    assert rates == pytest.approx(expected)


def test_the_published_size():
    model = build_model("lstm_lm_650", (50,), 10, seed=0)
    # 4 gates of 650 units over 650 inputs and 650 states, twice.
    lstm = 2 * 4 * 650 * (650 + 650 + 1)
    assert model.count_params() == lstm + 10 * 650 + 650 * 10 + 10
    embeddings = np.abs(model.get_layer("embedding").get_weights()[0])
    assert 0.04 < embeddings.max() <= 0.05


@pytest.mark.parametrize("name", SMALL)
def test_no_output_looks_ahead(name, pruned):
    before = outputs(pruned[name])
    assert before.shape == (3, LENGTH, SIZE)
    changed = TOKENS.copy()
    changed[:, 4] = (changed[:, 4] + 1) % SIZE
    after = outputs(pruned[name], changed)
    # Sums may be taken in another order.
    np.testing.assert_allclose(after[:, :4], before[:, :4], atol=1e-6)
    assert np.abs(after[:, 4:] - before[:, 4:]).max(axis=(0, 2)).min() > 1e-6


def test_attention_tells_places_apart():
    same = outputs(build("transformer_lm"), np.zeros((1, LENGTH), int))[0]
    assert np.abs(np.diff(same, axis=0)).max(axis=1).min() > 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_a_ticket_becomes_the_model_again(name, pruned, tmp_path):
    model = pruned[name]
    expected = outputs(model)
    state = get_state(model)
    Ticket.of(model, rewind=state, level=1).save(tmp_path / "ticket")
    built = Ticket.load(tmp_path / "ticket").build_model()
    assert np.array_equal(outputs(built), expected)
    assert np.array_equal(outputs(strip_masks(model)), expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert get_mask(loaded) == get_mask(model)
    assert np.array_equal(outputs(loaded), expected)


@pytest.mark.parametrize("name", SMALL)
def test_it_can_be_counted_and_looked_through(name, pruned):
    notices = []
    meter = analysis.CostMeter(pruned[name], (LENGTH,), notices.append)
    mask = get_mask(pruned[name])
    found = meter.columns(mask, examples=1, batch_size=1)
    # Tables are looked up; all else is multiplied at every place.
    size = sum(
        keep.size for path, keep in mask.items() if "embeddings" not in path
    )
    assert found["inference_flops"] == 2 * size * LENGTH
    guard = analysis.PathGuard(pruned[name], notices.append)
    guard.check("it", stop=True)
    assert 0 < guard.effective_density(mask) <= mask.density
    # Of so few rows whole columns of a table are pruned away.
    assert all(" dead units in embedding" in line for line in notices)


@pytest.mark.parametrize(
    "name, shape, match",
    [
        ("lenet_5", (LENGTH,), "of text for a data set of text. Received: mo"),
        ("lstm_lm", (8, 8, 1), "of images for a data set of images. Received"),
    ],
)
def test_models_of_the_other_kind_are_refused(name, shape, match):
    with pytest.raises(ValueError, match=f"`model` must be one {match}"):
        build_model(name, shape, SIZE, seed=0)


USERS = '''
import keras


def any_length(input_shape, num_classes):
    x = keras.Input((None,), dtype="int32")
    y = keras.layers.Embedding(num_classes, 3)(x)
    return keras.Model(x, keras.layers.Dense(num_classes)(y))


def of_sequences(input_shape, num_classes):
    x = keras.Input(input_shape, dtype="int32")
    y = keras.layers.Flatten()(keras.layers.Embedding(num_classes, 3)(x))
    return keras.Model(x, keras.layers.Dense(num_classes)(y))
'''


def test_models_of_users(tmp_path, monkeypatch):
    (tmp_path / "text_models_of_test.py").write_text(USERS)
    monkeypatch.chdir(tmp_path)
    model = build_model(
        "text_models_of_test:any_length", (LENGTH,), SIZE, seed=0
    )
    assert outputs(model).shape == (3, LENGTH, SIZE)
    pattern = r"map tokens of shape \(6,\) to 6x7 logits.*maps \(6,\) to \(7,\)"
    with pytest.raises(ValueError, match=pattern):
        build_model(
            "text_models_of_test:of_sequences", (LENGTH,), SIZE, seed=0
        )
