"""medseg fit-quality: what it says where it can't begin."""

import pytest


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing"], 2, "nothing"),
        (["retinal_vessel", "--method", "kmeans"], 3, "configs/quality/kmeans.yaml"),
        (["breast_ultrasound"], 2, "medseg train breast_ultrasound --folds 2"),
    ],
    ids=["task", "method", "folds"],
)
def test_what_it_needs(run_medseg, capsys, tmp_path, monkeypatch, words, code, said):
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    assert run_medseg("fit-quality", *words, "--output_dir", tmp_path / "out") == code
    assert said in capsys.readouterr().err
