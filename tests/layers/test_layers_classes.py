"""Every class of `keras.layers` has an answer: masked, carried or refused."""

import importlib

import keras
import numpy as np
import pytest

from tf_lottery.layers import MASKED_LAYERS
from tf_lottery.layers import mask_model
from tf_lottery.layers import strip_masks

L = keras.layers
any_backend = pytest.mark.any_backend

# Hold other layers, which are masked; their configs carry those.
CARRIERS = {
    "Bidirectional", "Pipeline", "RNN", "StackedRNNCells", "TimeDistributed",
    "Wrapper",
}
REFUSED = {
    "FlaxLayer", "JaxLayer", "SpectralNormalization", "TFSMLayer",
    "TorchModuleWrapper",
}
# With the arguments that each needs; built on images or vectors.
VECTOR, SEQUENCE, IMAGE, VOLUME = (6,), (6, 4), (8, 8, 3), (4, 4, 4, 2)
WITHOUT_KERNEL = {
    SEQUENCE: {
        "Activation": ("relu",), "ActivityRegularization": (), "ELU": (),
        "AlphaDropout": (0.5,), "AveragePooling1D": (2,), "Cropping1D": (1,),
        "AdaptiveAveragePooling1D": (2,), "AdaptiveMaxPooling1D": (2,),
        "BatchNormalization": (), "Dropout": (0.5,), "Flatten": (),
        "GaussianDropout": (0.5,), "GaussianNoise": (0.5,), "Identity": (),
        "GlobalAveragePooling1D": (), "GlobalMaxPooling1D": (),
        "GroupNormalization": (2,), "Lambda": (lambda x: 2 * x,),
        "LayerNormalization": (), "LeakyReLU": (), "Masking": (),
        "MaxPooling1D": (), "Normalization": (), "PReLU": (),
        "Permute": ((2, 1),), "RMSNormalization": (), "ReLU": (),
        "Rescaling": (2.0,), "Reshape": ((4, 6),), "Softmax": (),
        "SpatialDropout1D": (0.5,), "UnitNormalization": (),
        "UpSampling1D": (), "ZeroPadding1D": (),
    },
    VECTOR: {"RepeatVector": (2,)},
    IMAGE: {
        "AdaptiveAveragePooling2D": (2,), "AdaptiveMaxPooling2D": (2,),
        "AveragePooling2D": (2,), "CenterCrop": (4, 4), "Cropping2D": (1,),
        "GlobalAveragePooling2D": (), "GlobalMaxPooling2D": (),
        "MaxPooling2D": (), "Resizing": (4, 4), "SpatialDropout2D": (0.5,),
        "UpSampling2D": (), "ZeroPadding2D": (),
        "AugMix": (), "AutoContrast": (), "CutMix": (), "Equalization": (),
        "ContrastLimitedAdaptiveHistogramEqualization": (), "MixUp": (),
        "RandAugment": (), "RandomBrightness": (0.5,), "RandomHue": (0.5,),
        "RandomColorDegeneration": (0.5,), "RandomColorJitter": (),
        "RandomContrast": (0.5,), "RandomCrop": (4, 4), "RandomFlip": (),
        "RandomElasticTransform": (), "RandomErasing": (),
        "RandomGaussianBlur": (), "RandomGrayscale": (), "RandomInvert": (),
        "RandomPerspective": (), "RandomPosterization": (4,),
        "RandomRotation": (0.5,), "RandomSaturation": (0.5,),
        "RandomSharpness": (0.5,), "RandomShear": (),
        "RandomTranslation": (0.5, 0.5), "RandomZoom": (0.5,),
        "Solarization": (),
    },
    VOLUME: {
        "AdaptiveAveragePooling3D": (2,), "AdaptiveMaxPooling3D": (2,),
        "AveragePooling3D": (2,), "Cropping3D": (1,),
        "GlobalAveragePooling3D": (), "GlobalMaxPooling3D": (),
        "MaxPooling3D": (), "SpatialDropout3D": (0.5,), "UpSampling3D": (),
        "ZeroPadding3D": (),
    },
}
# Merge several inputs or look things up; a score's scale is one vector.
NOT_ONE_TENSOR = {
    "Add", "AdditiveAttention", "Attention", "Average", "CategoryEncoding",
    "Concatenate", "Discretization", "Dot", "HashedCrossing", "Hashing",
    "InputLayer", "IntegerLookup", "Layer", "MaxNumBoundingBoxes", "Maximum",
    "MelSpectrogram", "Minimum", "Multiply", "STFTSpectrogram",
    "StringLookup", "Subtract", "TextVectorization",
}
NORMALISES = (
    L.BatchNormalization, L.GroupNormalization, L.LayerNormalization,
    L.PReLU, L.RMSNormalization,
)
BUILT = [
    pytest.param(name, arguments, shape, id=name)
    for shape, table in WITHOUT_KERNEL.items()
    for name, arguments in table.items()
    # Of a later Keras than the oldest that is declared.
    if hasattr(L, name)
]


def public_classes():
    """The layer classes of `keras.layers`; an alias counts once."""
    found = {
        cls
        for cls in vars(L).values()
        if isinstance(cls, type) and issubclass(cls, L.Layer)
    }
    # As `GroupQueryAttention` its class has another name than its alias.
    return found - set(MASKED_LAYERS)


@any_backend
def test_every_class_has_an_answer():
    known = {n for table in WITHOUT_KERNEL.values() for n in table}
    known |= CARRIERS | REFUSED | NOT_ONE_TENSOR
    names = {cls.__name__ for cls in public_classes()}
    assert len(names) > 100
    assert names - known == set(), "with a kernel, or without one?"


@any_backend
def test_an_answer_is_given_once():
    tables = [*WITHOUT_KERNEL.values(), CARRIERS, REFUSED, NOT_ONE_TENSOR]
    names = [name for table in tables for name in table]
    assert len(names) == len(set(names))
    masked = {cls.__name__ for cls in MASKED_LAYERS}
    assert not masked & set(names)


def kernels(layer):
    return [v.path for v in layer.trainable_variables if v.ndim > 1]


@pytest.mark.parametrize("name, arguments, shape", BUILT)
def test_classes_without_a_kernel_have_none(name, arguments, shape):
    layer = getattr(L, name)(*arguments)
    layer(np.ones((2, *shape), "float32"))
    if not isinstance(layer, NORMALISES):
        assert not kernels(layer)


@any_backend
def test_attention_without_projections_has_no_kernel():
    x = np.ones((2, 6, 4), "float32")
    for layer in (L.AdditiveAttention(), L.Attention(use_scale=True)):
        layer([x, x])
        assert layer.trainable_variables and not kernels(layer)


def around(layer, shape=(5, 4), **kwargs):
    x = keras.Input(shape, **kwargs)
    return keras.Model(x, L.Dense(2, name="last")(layer(x)))


@any_backend
def test_normalised_kernels_are_refused():
    model = around(L.SpectralNormalization(L.Dense(3), name="odd"))
    text = r"odd \(SpectralNormalization, which assigns to the kernel inside\)"
    with pytest.raises(ValueError, match=text):
        mask_model(model)
    masked = mask_model(model, exclude="odd/*")
    assert len(masked.trainable_variables) == len(model.trainable_variables)


def test_saved_models_as_layers_are_refused(tmp_path):
    inner = keras.Sequential([keras.Input((4,)), L.Dense(3)])
    inner.export(tmp_path / "served", verbose=False)
    model = around(L.TFSMLayer(str(tmp_path / "served"), name="odd"), (4,))
    with pytest.raises(ValueError, match="TFSMLayer, whose weights Keras"):
        mask_model(model)


@any_backend
def test_functions_of_jax_as_layers_are_refused():
    if keras.backend.backend() != "jax":
        pytest.skip("needs JAX as Keras' backend")
    jax = importlib.import_module("jax")
    layer = L.JaxLayer(
        lambda params, inputs: inputs @ params["w"],
        init_fn=lambda rng, inputs: {"w": jax.numpy.ones((4, 3))},
        name="odd",
    )
    with pytest.raises(ValueError, match=r"odd \(JaxLayer, odd/"):
        mask_model(around(layer, (4,)))


@any_backend
def test_modules_of_torch_as_layers_are_refused():
    if keras.backend.backend() != "torch":
        pytest.skip("needs PyTorch as Keras' backend")
    torch = importlib.import_module("torch")
    model = around(
        L.TorchModuleWrapper(torch.nn.Linear(4, 3), name="odd"), (4,)
    )
    with pytest.raises(ValueError, match=r"odd \(TorchModuleWrapper, "):
        mask_model(model)


@any_backend
def test_a_class_of_their_own_cell_is_refused():
    class OwnCell(L.GRUCell):
        pass

    model = around(L.RNN(OwnCell(3), return_sequences=True, name="odd"))
    with pytest.raises(ValueError, match=r"\(OwnCell, .*register_layer"):
        mask_model(model)


@any_backend
def test_masked_classes_are_named_after_their_stock_class():
    for stock, masked in MASKED_LAYERS.items():
        assert masked.__name__ == f"Masked{stock.__name__}"
        assert masked.stock_class is stock
    for name in ("Dense", "LSTM", "MultiHeadAttention", "Embedding"):
        assert getattr(L, name) in MASKED_LAYERS


def test_stripped_files_load_where_the_library_is_not(cases, python, tmp_path):
    for case in cases:
        if not case.like and not case.name.startswith("own"):
            model, _ = case.masked()
            strip_masks(model).save(tmp_path / f"{case.name}.keras")
    code = """
import pathlib, sys
sys.modules["tf_lottery"] = None
import keras
files = sorted(pathlib.Path(sys.argv[1]).glob("*.keras"))
for file in files:
    keras.saving.load_model(file)
print(len(files))
"""
    done = python("-c", code, tmp_path, cwd=tmp_path, PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15
