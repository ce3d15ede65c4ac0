"""Copies of a network that part at step k: what they share, to the bit."""

import shutil

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery import forks
from tf_lottery import seeds
from tf_lottery.train.order import DataOrder
from tf_lottery.train.order import Fork

# 17 steps are an epoch: step 20 is in the middle of the second.
SHORT = dict(
    train_steps=40, eval_every=20, batch_size=75, jit="off", quiet=True,
    optimizer="sgd", learning_rate=0.1,
)


def analysed(folder, *steps, **changes):
    return tfl.instability(
        steps=steps, output_dir=str(folder), **{**SHORT, **changes}
    )


def trained(found, branch, part="trained"):
    path = f"{found.run_dir}/replicate_0/{branch}/level_00/ticket"
    return getattr(tfl.Ticket.load(path), part)


def equal(one, other):
    return all(np.array_equal(one[k], other[k]) for k in one)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return analysed(tmp_path_factory.mktemp("forks"), 0, 20)


@pytest.mark.parametrize("step", [0, 1, 3, 4, 5, 8])
def test_a_fork_takes_every_example_of_an_epoch_once(step):
    order = DataOrder(size=13, batch_size=3)  # 4 steps an epoch
    one, other, both = (
        order.batches(0, 12, seed) for seed in (5, 6, Fork(5, step, 6))
    )
    assert np.array_equal(both[:step], one[:step])
    whole = -(-step // 4) * 4
    assert np.array_equal(both[whole:], other[whole:])
    for epoch in both.reshape(3, -1):
        assert len(set(epoch.tolist())) == 12
    rest = both[step:whole].ravel().tolist()
    left = [
        i
        for i in seeds.permutation(13, 6, "order", step // 4).tolist()
        if i not in one[whole - 4 : step]
    ]
    assert not step % 4 or rest == left[: len(rest)]


def test_any_step_of_a_fork_can_be_asked_for():
    order = DataOrder(size=13, batch_size=3)
    fork = Fork(5, 6, 6)
    whole = order.batches(0, 12, fork)
    assert np.array_equal(order.batches(7, 9, fork), whole[7:9])
    assert seeds.derive(fork, "augment") == seeds.derive(6, "augment")


def test_the_first_network_is_level_0_of_the_experiment(found, tmp_path):
    results = tfl.run(
        levels=0, rewind="20it", output_dir=str(tmp_path), **SHORT
    )
    dense = tfl.Ticket.load(
        f"{results.run_dir}/replicate_0/main/level_00/ticket"
    )
    assert equal(dense.trained, trained(found, "main"))
    # What both share is the state of step k.
    assert equal(dense.rewind, trained(found, "fork_000020", "rewind"))
    start = trained(found, "main", "rewind")
    assert equal(start, trained(found, "fork_000000", "rewind"))
    assert not equal(start, dense.rewind)


def test_the_copies_part(found):
    ends = [
        trained(found, branch)
        for branch in ("main", "fork_000000", "fork_000020")
    ]
    assert not equal(ends[0], ends[1])
    assert not equal(ends[0], ends[2])
    assert not equal(ends[1], ends[2])


def test_in_the_same_order_a_copy_is_the_first_to_the_bit(
    found, tmp_path, monkeypatch
):
    def same(self, replicate):
        seed = seeds_of(self, replicate)[0]
        return seed, seed

    seeds_of = forks.ForkTrainer._seeds
    monkeypatch.setattr(forks.ForkTrainer, "_seeds", same)
    # Momentum, or its loss, would show.
    twin = analysed(tmp_path, 20, optimizer="adam")
    assert equal(trained(twin, "main"), trained(twin, "fork_000020"))
    assert [row["barrier_test"] for row in twin.barriers] == [0.0]


def test_steps_that_come_later_change_nothing(found, tmp_path, capfd):
    first = analysed(tmp_path, 20)
    folder = tmp_path / first.run_dir.split("/")[-1]
    # Damaged, it is told and made again.
    path = folder / "replicate_0/fork_000000/level_00/checkpoint.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no archive")
    capfd.readouterr()
    both = analysed(tmp_path, 0, 20, quiet=False)
    assert "is damaged: it is not used" in capfd.readouterr().err
    assert both.points == found.points
    assert equal(trained(both, "fork_000000"), trained(found, "fork_000000"))
    assert not list(folder.rglob("checkpoint.npz"))


def test_a_snapshot_of_a_network_that_is_gone_is_not_used(
    found, tmp_path, monkeypatch
):
    real = forks.assembly.build_replicate

    def other(config, info, replicate, purpose):
        return real(config, info, replicate + 1, purpose)

    def cut(*arguments):
        raise OSError("full")

    with monkeypatch.context() as patch:
        patch.setattr(forks.assembly, "build_replicate", other)
        patch.setattr(forks.ForkTrainer, "_train_fork", cut)
        with pytest.raises(OSError, match="full"):
            analysed(tmp_path, 20)
    (folder,) = tmp_path.iterdir()
    assert (folder / "replicate_0/fork_000020/level_00/checkpoint.npz").exists()
    shutil.rmtree(folder / "replicate_0/main")
    again = analysed(tmp_path, 20)
    assert equal(trained(again, "fork_000020"), trained(found, "fork_000020"))


def test_a_beginning_that_is_taken_again_is_compared(
    tmp_path, monkeypatch, capfd
):
    analysed(tmp_path, 10)
    capfd.readouterr()
    analysed(tmp_path, 10, 25, quiet=False)
    assert "was trained again" not in capfd.readouterr().err
    real = forks.report.read_evaluations

    def other(path):
        return [{**row, "loss": row["loss"] + row["step"]}
                for row in real(path)]

    # As on hardware that gives other bits each time.
    monkeypatch.setattr(forks.report, "read_evaluations", other)
    analysed(tmp_path, 10, 25, 30, quiet=False)
    told = capfd.readouterr().err
    assert "differs at step 20 from the first time" in told


def test_a_cut_training_goes_on_to_the_same_end(
    found, tmp_path, monkeypatch
):
    real = forks.ForkTrainer._save

    def cut(self, key, *what):
        if key.branch == "fork_000020":
            raise KeyboardInterrupt
        real(self, key, *what)

    with monkeypatch.context() as patch:
        patch.setattr(forks.ForkTrainer, "_save", cut)
        # A snapshot after every call of the loop.
        with pytest.raises(KeyboardInterrupt):
            analysed(tmp_path, 0, 20, checkpoint_every=0)
    names = {p.parts[-3] for p in tmp_path.rglob("checkpoint.npz")}
    assert names == {"fork_000020"}
    again = analysed(tmp_path, 0, 20)
    assert again.points == found.points
    for row, before in zip(again.barriers, found.barriers):
        assert row["barrier_test"] == before["barrier_test"]
