"""A language model from text to ticket, as users run it."""

import json

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.config import Config
from tf_lottery.data import read_tokens

# A small network of the user's own: the built-in ones take longer to compile.
USERS = '''
import keras


def tiny(input_shape, num_classes):
    x = keras.Input(input_shape, dtype="int32")
    y = keras.layers.Embedding(num_classes, 8, name="embedding")(x)
    y = keras.layers.Conv1D(8, 3, padding="causal", name="conv")(y)
    return keras.Model(x, keras.layers.Dense(num_classes, name="output")(y))
'''
FLAGS = (
    "--model=text_model_of_test:tiny", "--sequence_length=20", "--levels=2",
    "--train_steps=6it", "--rewind=1it", "--eval_every=3it",
    "--batch_size=16", "--jit=off", "--noreport", "--validation_size=5",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "text_model_of_test.py").write_text(USERS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_text_to_ticket(command, folder):
    text = "to be, or not to be: that is the question. " * 60
    (folder / "a.txt").write_text(text)
    flags = (*FLAGS, "--text_file=a.txt", "--branches=random_mask")
    done = command(*flags)
    assert done.status == 0, done.err
    assert " test sequences. text_model_of_test:tiny: " in done.err
    (run,) = (folder / "runs").iterdir()
    assert run.name.startswith("text_file-text_model_of_test_tiny-imp-")
    results = tfl.load_results(run)
    assert results.metric.name == "perplexity"
    rows = {(row["branch"], row["level"]): row for row in results.rows}
    assert set(rows) == {
        ("main", 0), ("main", 1), ("main", 2),
        ("random_mask", 1), ("random_mask", 2),
    }
    for row in rows.values():
        assert row["test_perplexity"] == pytest.approx(
            np.exp(row["test_loss"]), rel=1e-12
        )
        assert row["inference_flops"] and row["effective_density"]
    level = run / "replicate_0" / "main" / "level_02"
    head = (level / "metrics.csv").read_text().splitlines()[0]
    assert head == "step,split,loss,perplexity,bits_per_character,accuracy"
    # The ticket brings the vocabulary, and with it can be used.
    ticket = tfl.Ticket.load(level / "ticket")
    assert ticket.config["input_shape"] == [20]
    tokens = read_tokens(ticket.config["tokens"], ticket.config["vocabulary"])
    x = tokens.encode("to be, or not to be:")
    logits = np.asarray(ticket.build_model()(x[np.newaxis]))
    assert logits.shape == (1, 20, tokens.size)
    # The file counts by its content: elsewhere the same run goes on.
    (folder / "a.txt").rename(folder / "b.txt")
    again = command(*flags, "--text_file=b.txt", "--levels=3")
    assert again.status == 0, again.err
    assert "5 of 7 trainings are finished and reused" in again.err
    (folder / "b.txt").write_text(text + "To be.")
    other = command(*flags, "--text_file=b.txt", "--plan")
    assert run.name not in other.out
    values = json.loads((run / "config.json").read_text())
    assert set(values["inputs"]) == {"text_file", "model"}


def test_a_ticket_of_a_text_is_shipped_and_transferred(
    command, folder, capfd
):
    from tf_lottery.cli import export_ticket

    text = "to be, or not to be: that is the question. " * 60
    (folder / "a.txt").write_text(text)
    (folder / "b.txt").write_text(text[3:])
    (folder / "c.txt").write_text(text.upper())
    flags = (*FLAGS, "--levels=1", "--rewind=0it", "--train_steps=2it",
             "--eval_every=2it")
    assert command(*flags, "--text_file=a.txt").status == 0
    (run,) = (folder / "runs").iterdir()
    # As many characters, but others.
    flags = (*flags, f"--ticket={run}", "--plan")
    done = command(*flags, "--text_file=c.txt")
    assert "`ticket` must be of a text with the same vocabulary" in done.err
    done = command(*flags, "--text_file=b.txt")
    assert done.status == 0, done.err
    ticket = run / "replicate_0" / "main" / "level_01" / "ticket"
    export = (
        "export_ticket.py", f"--ticket={ticket}", "--format=keras",
        f"--output_dir={folder / 'out'}", "--samples=5", "--rounds=0",
    )
    capfd.readouterr()
    assert export_ticket.main([*export, "--text_file=c.txt"]) == 1
    assert "have the vocabulary of its text" in capfd.readouterr().err
    assert export_ticket.main([*export, "--text_file=a.txt"]) == 0
    (entry,) = json.loads((folder / "out" / "report.json").read_text())[
        "entries"
    ]
    assert entry["examples"] == 5


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_criteria_look_at_sequences(criterion, command, folder):
    done = command(
        *FLAGS[:2], *FLAGS[3:], "--dataset=grammar", "--method=at_init",
        f"--criterion={criterion}", "--target_sparsity=0.5", "--rewind=0it",
        "--collapse=floor",
    )
    assert done.status == 0, done.err
    (run,) = (folder / "runs").iterdir()
    assert tfl.load_results(run).rows[1]["sparsity"] == pytest.approx(0.5, 0.1)


@pytest.mark.parametrize(
    "flags, match",
    [
        (["--augment=flip_crop"], "`augment` must be left out for text"),
        (["--split_seed=1"], "`split_seed` must be left out for text"),
        (["--model=lenet_300_100"], "`model` must be one of text for a data"),
        (["--dataset=digits", "--model=lstm_lm"], "`model` must be one of im"),
        (["--dataset=digits", "--tokens=subword"], "`tokens` must be left out"),
        (
            [
                "--method=at_init", "--criterion=snip", "--levels=1",
                "--target_sparsity=0.5", "--branches=random_pixels",
            ],
            "`branches` must be without random_pixels for text",
        ),
        (
            [
                "--method=one_shot", "--criterion=synflow",
                "--target_sparsity=0.5",
            ],
            "`model` must take real numbers: ones are no token ids",
        ),
        (["--text_file=none.txt"], "`text_file` must be left out for this da"),
        (["--dataset=text_file"], "`text_file` must be given for this datase"),
        (["--dataset=digits", "--text_file=no.txt"], "`text_file` must be a f"),
        (["--vocabulary_size=300"], "`vocabulary_size` must be left out for "),
        (["--sequence_length=0"], "`sequence_length` must be at least 1"),
    ],
)
def test_what_does_not_go_with_text_is_refused(flags, match, command):
    done = command("--dataset=grammar", "--model=lstm_lm", *flags, "--plan")
    assert done.status != 0
    assert match in done.err and done.err.count("\n") == 1, done.err


def test_the_fingerprint_of_images_is_as_it_was():
    names = {"text_file", "tokens", "vocabulary_size", "sequence_length"}
    assert not names & set(Config().to_json())
    assert Config(text_file="a.txt").dataset == "text_file"
    assert "sequence_length" in Config(sequence_length=20).to_json()
