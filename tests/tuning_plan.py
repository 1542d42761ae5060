"""A search whose trials take no time: its plan, and how its trials are faked."""

from pathlib import Path

from medseg.bundle import open_bundle, read_method
from medseg.tuning.plan import Plan
from medseg.tuning.search_space import Parameter, SearchSpace

SPACE = SearchSpace(
    {
        "sigma": Parameter("sigma", 30, low=5, high=60),
        "feature": Parameter("feature", "gaussian@1", choices=("gaussian@1", "gaussian@2")),
    },
    {"network_def::divide::sigma": "@sigma", "network_def::features::names": ["@feature"]},
)


def plan_in(folder, trials=3, url=None, space=SPACE, study="vessels", **about):
    bundle = open_bundle("retinal_vessel")
    return Plan(
        root=bundle.root,
        method=read_method(bundle, "threshold"),
        files=("inference.yaml", "methods/threshold.yaml"),
        given={},
        space=space,
        study=study,
        url=url or f"sqlite:///{Path(folder).absolute()}/study.db",
        trials=trials,
        output_dir=Path(folder).absolute() / "out",
        items=(),
        about={"search space": space.digest(), "settings": "{}", **about},
    )


def states(study):
    return [trial.state.name for trial in study.trials()]
