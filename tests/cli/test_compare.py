"""`medseg compare`: which options go together."""

import pytest

LOSSES = ["--losses", "dice_ce,tversky"]
METHODS = ["--methods", "threshold,kmeans"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the arguments --methods --losses is required"),
        ([*LOSSES, *METHODS], "not allowed with argument"),
        ([*LOSSES, "--weights", "unet=x.pt"], "expected options that apply to --losses; got --weights."),
        ([*METHODS, "--method", "unet"], "expected options that apply to --methods; got --method."),
        (
            [*METHODS, "--epochs", "2", "--resume"],
            "expected options that apply to --methods; got --epochs, --resume.",
        ),
        (["--losses", "dice_ce,tverksy"], "Did you mean tversky?"),
        (["--losses", "dice_ce"], "expected two or more losses, each once; got dice_ce."),
        ([*LOSSES, "--method", "svm"], "expected a method that is trained by the gradient of a loss"),
        ([*LOSSES, "--epochs", "0"], "expected 1 epoch or more; got 0."),
        ([*LOSSES, "--set", "loss_name=mse"], "expected keys that every training of the comparison can have"),
    ],
)
def test_refused(run_medseg, capsys, arguments, message):
    try:
        code = run_medseg("compare", "retinal_vessel", *arguments)
    except SystemExit as ended:  # of the parser
        code = ended.code
    assert code == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
