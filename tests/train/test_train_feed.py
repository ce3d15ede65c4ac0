"""Data on the device or on the host: the same bits, in blocks of any size."""

import numpy as np
import pytest

from tf_lottery import train
from tf_lottery.layers import get_state
from tf_lottery.layers import set_state
from tf_lottery.train import feed
from tf_lottery.train.feed import DeviceFeed
from tf_lottery.train.feed import HostFeed
from tf_lottery.train.order import DataOrder

# Of one example of `splits`: six float32 and an int32 label.
EXAMPLE = 28


@pytest.fixture
def block(request, monkeypatch):
    """Steps of a block: 3, which divides neither calls nor epochs."""
    steps = getattr(request, "param", 3)
    monkeypatch.setattr(feed, "BLOCK_BYTES", steps * 8 * EXAMPLE)
    return steps


def outcome(trainer, **how):
    metrics = trainer(trainer.model, level=0, seed=3, **how)
    return get_state(trainer.model), trainer.rows, metrics


def check_same(one, other):
    assert one[1:] == other[1:]
    for path in one[0]:
        assert np.array_equal(one[0][path], other[0][path]), path


@pytest.mark.parametrize(
    "jit", ["off", pytest.param("on", marks=pytest.mark.slow)]
)
def test_streamed_data_give_the_bits_of_data_on_the_device(
    jit, block, make_net, make_trainer
):
    ends = []
    for placement in ("device", "host"):
        trainer = make_trainer(
            make_net(), optimizer="adam", jit=jit, data_placement=placement
        )
        ends.append(outcome(trainer))
        # Another seed and start in between, then as before.
        trainer(trainer.model, level=1, seed=9, start_step=5)
        set_state(trainer.model, get_state(make_net()))
        check_same(outcome(trainer), ends[-1])
        assert trainer._run.experimental_get_tracing_count() == 1
    check_same(*ends)


def test_two_replicas_stream_their_shares(block, make_net, make_trainer):
    strategy = train.make_strategy("mirrored")
    ends = []
    for placement in ("device", "host"):
        with strategy.scope():
            model = make_net()
        trainer = make_trainer(
            model, data_placement=placement, strategy=strategy
        )
        ends.append(outcome(trainer))
    check_same(*ends)


def test_a_streamed_training_goes_on_in_the_middle(
    block, make_net, make_trainer, tmp_path
):
    trainer = make_trainer(make_net(), data_placement="host")
    whole = outcome(trainer)
    set_state(trainer.model, get_state(make_net()))
    checkpoint = train.Checkpoint(tmp_path / "state.npz", {}, every=1e9)
    with pytest.raises(train.Stopped):
        outcome(trainer, checkpoint=checkpoint, stopping=lambda: 15)
    check_same(outcome(trainer, checkpoint=checkpoint), whole)


@pytest.mark.parametrize(
    ("placement", "start", "end"), [("device", 2, 9), ("host", 2, 3)]
)
def test_a_call_beyond_a_block_is_refused(
    placement, start, end, block, make_net, make_trainer
):
    trainer = make_trainer(make_net(), data_placement=placement)
    with pytest.raises(ValueError, match=f"^`stop` must be at most {end}, "):
        trainer.advance(start, end + 1, seed=3)
    assert trainer.advance(start, end, seed=3) > 0


@pytest.mark.parametrize("block", [1, 3, 100], indirect=True)
def test_both_feeds_give_the_examples_of_the_order(
    block, make_trainer, splits
):
    x, y = splits["train"]
    strategy = train.make_strategy("one_device")
    order = DataOrder(len(x), 8)
    for kind in (DeviceFeed, HostFeed):
        feeding = kind(x, y, order, strategy, 7)
        assert feeding.length == min(block, 7) or kind is DeviceFeed
        step = 0
        while step < 15:
            stop = min(feeding.end(step), step + 7, 15)
            batches = order.batches(step, stop, seed=3)
            examples, labels, rows = feeding(step, stop, 3)
            assert rows.shape == (feeding.length, 8)
            rows = rows.numpy()[: stop - step]
            assert np.array_equal(examples.numpy()[rows], x[batches])
            assert np.array_equal(labels.numpy()[rows], y[batches])
            step = stop
    # No more of it than a block is on the device.
    assert len(examples) == 8 * min(block, 7)


def test_examples_may_be_memory_mapped(
    make_net, make_trainer, splits, tmp_path
):
    x, y = splits["train"]
    mapped = np.memmap(tmp_path / "x", x.dtype, "w+", shape=x.shape)
    mapped[:] = x
    ends = []
    for data in (x, mapped):
        trainer = make_trainer(
            make_net(),
            data={**splits, "train": (data, y)},
            data_placement="host",
        )
        ends.append(outcome(trainer))
    check_same(*ends)


def test_placement_is_chosen_by_size(monkeypatch):
    x, y = np.zeros((10, 6), "float32"), np.zeros(10, "int32")
    splits = {"train": (x, y), "test": (x, y)}
    # The training set counts twice: 3 x 280 bytes.
    monkeypatch.setattr(feed, "_device_bytes", lambda: 4 * 840)
    assert not feed.on_host("auto", splits)
    monkeypatch.setattr(feed, "_device_bytes", lambda: 4 * 839)
    assert feed.on_host("auto", splits)
    assert not feed.on_host("device", splits)
    monkeypatch.setattr(feed, "_device_bytes", lambda: 1 << 40)
    assert feed.on_host("host", splits)
    with pytest.raises(ValueError) as error:
        feed.on_host("disk", splits)
    assert str(error.value) == (
        "`data_placement` must be one of auto, device, host. Received: "
        "data_placement='disk'. Choose one of these."
    )


def test_the_host_s_memory_is_known():
    assert feed._device_bytes() > 2**28


@pytest.mark.slow
def test_the_command_streams_to_the_same_bytes(
    command, flags, whole, content, tmp_path, monkeypatch
):
    monkeypatch.setattr(feed, "BLOCK_BYTES", 60 * 7 * (64 + 4))
    lengths = []
    real = HostFeed.__call__

    def counted(self, *call):
        lengths.append(self.length)
        return real(self, *call)

    monkeypatch.setattr(HostFeed, "__call__", counted)
    done = command(
        *flags, "--branches=reinit", "--data_placement=host",
        f"--output_dir={tmp_path}",
    )
    assert done.status == 0, done.err
    assert set(lengths) == {7}
    assert content(tmp_path / whole.path.name) == content(whole.path)
