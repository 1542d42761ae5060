"""The learning curves of several losses."""

import pytest

from medseg.evaluation import losses_plot
from medseg.evaluation.losses_plot import draw_losses
from medseg.methods.losses import loss_names


def history(validated):
    epochs = range(1, 4)
    return {
        "train_loss": [(epoch, -1 / epoch) for epoch in epochs],
        "train_dice": [(epoch, 1 - 1 / epoch) for epoch in epochs],
        "val_dice": [(epoch, 0.5) for epoch in validated],
        "learning_rate": [(epoch, 0.1) for epoch in epochs],
    }


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw, and tell each axis by its title with the number of its curves."""
    figures = []

    def draw(histories):
        from matplotlib.figure import Figure

        monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.append(figure))
        draw_losses(histories, tmp_path / "curves.png")
        return {axis.get_title(): len(axis.lines) for part in figures[-1].subfigs for axis in part.axes}

    return draw


def test_every_loss_has_a_curve_of_its_own(drawn):
    found = drawn({name: history([3]) for name in loss_names()})
    assert found == {"train_dice": 8, **{f"loss: {name}": 1 for name in loss_names()}}


def test_a_score_that_was_taken_once_is_no_curve(drawn):
    assert "val_dice" in drawn({"dice": history([1, 2, 3]), "mse": history([1, 2, 3])})
    assert "val_dice" not in drawn({"dice": history([3]), "mse": history([3])})


def test_no_two_losses_look_alike(monkeypatch):
    looks = []
    monkeypatch.setattr(losses_plot, "_epochs", lambda *_, **__: None)

    class Axis:
        def plot(self, *_, color, **__):
            looks.append(color)

    for number in range(len(loss_names())):
        losses_plot._curve(Axis(), [(1, 1.0)], number)
    assert len(set(looks)) == len(loss_names())


def test_a_picture(tmp_path):
    draw_losses({"dice": history([3])}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
