"""The language of expressions that passes, and tricks to get out of it."""

import pytest

from medseg.bundle.audit import expressions, names

KNOWN = {"find", "partial", "Path"}

SOUND = """
@network_def.to(@device)
str(Path(@bundle_root) / 'models' / (@method + '.npz'))
[{@image_key: source} for source in find(@input)]
@autocast and torch.device(@device).type == 'cuda'
list(@train#deterministic_transforms.values()) + list(@train#random_transforms.values())
[weights for name, weights in @network.named_parameters() if not name.startswith('encoder.')]
lambda scores: scores[1:]
lambda output: monai.handlers.from_engine(['pred'])([{k: item[k][:1] for k in ('a', 'b')} for item in output])
(lambda items: random.Random(@seed).sample(items, min(@count, len(items))))(find(@x))
partial(torch.gt, other=0.5)
dict(classical='00').get(@method)
@range_hu[1] - @range_hu[0]
0.25 * @learning_rate
max(1, @epochs // 10) if @resume is None else 3
np.float32
f"{@name}_{@number}"
""".strip().splitlines()

TRICKS = """
__import__('os')
().__class__
[].__class__.__base__
Path.home()
Path('a').unlink()
Path('a').write_text('b')
Path('a').replace('b')
'{0.__class__}'.format(1)
f'{().__class__}'
f'{open(1)}'
getattr(torch, 'lo' + 'ad')
vars(torch)['load']
torch
monai.bundle.run
monai.utils.misc.run_cmd(['a'])
torch.load
torch.hub.load('a', 'b')
torch.nn.functional.os.system('a')
torch.utils.data.os.system('a')
np.load('a')
numpy.ctypeslib.load_library('a', 'b')
np.lib.npyio.DataSource('a')
torch.serialization.load('a')
random.os.system('a')
random._os.system('a')
partial(eval, 'a')
partial(__builtins__['eval'], 'a')
globals()
locals()
type('a', (), {})
(lambda: open('a'))()
(lambda f: f('a'))(find)
[f('a') for f in [find]]
[x for x.y in [1]]
[x for @a.b in [1]]
[find for find in [1]]
[torch for torch in [1]]
(x := open)('a')
@f('a')
@f.x('a')
@handlers[0]('a')
@train#values()
(find if 1 else 2)('a')
[find][0]('a')
@network.forward.__globals__['os']
@network.forward.__func__
@generator.gi_frame.f_globals
@ + 1
@imports
@imports#0
@train#imports#0
__local_refs
__local_refs['imports::0']
__local_refs['imp' + 'orts']
list(__local_refs.values())
'__import__'
10 ** 10 ** 10
1 << 99999999
'a' * 99999999999
lambda: (yield)
await find('a')
find(**{'__class__': 1})
print('a')
input()
breakpoint()
help()
compile('a', 'b', 'eval')
exec('a')
memoryview(b'a')
import os
x = 1
find('a'); find('b')
(
""".strip().splitlines()  # fmt: skip


@pytest.mark.parametrize("text", SOUND)
def test_what_bundles_need_passes(text):
    assert expressions.faults(f"${text}", "train::value", KNOWN) == []


@pytest.mark.parametrize("text", TRICKS)
def test_tricks_are_refused(text):
    assert expressions.faults(f"${text}", "train::value", KNOWN)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("import torch", True),
        ("import numpy as np", True),
        ("from pathlib import Path", True),
        ("from medseg.bundle import find", True),
        ("from medseg.measurements import vessel_segments", True),
        ("import os", False),
        ("import torch as np", False),
        ("import numpy as torch", False),
        ("import numpy as anything", False),
        ("import torch.hub", False),
        ("import torch, os", False),
        ("import torch; open('a')", False),
        ("from torch import load", False),
        ("from pathlib import os", False),
        ("from pathlib import Path as find", False),
        ("from builtins import eval", False),
        ("from operator import attrgetter", False),
        ("from types import FunctionType", False),
        ("from medseg.cli import main", False),
        ("from medseg.bundle import run_workflow", False),
        ("from medseg.inference.devices import os", False),
        ("from medseg.measurements import lungs", False),
        ("from .scripts import a", False),
        ("from scripts import a", False),
    ],
)
def test_imports(text, passes):
    assert (expressions.import_fault(f"${text}") is None) == passes


DANGEROUS = """
    os.system subprocess.Popen builtins.eval builtins.exec eval exec open print torch.load torch.hub.load
    torch.jit.load torch.save torch.nn.Module.load_state_dict torch.nn.functional.os.system numpy.load
    pickle.load monai.bundle.run monai.bundle.load monai.bundle.ConfigWorkflow ConfigWorkflow ConfigParser
    run load monai.apps.download_and_extract download_url monai.utils.misc.run_cmd
    monai.utils.optional_import monai.auto3dseg.BundleAlgo BundleAlgo MLFlowHandler TorchVision
    monai.transforms.io.array.locate monai.data.utils.pickle.Unpickler monai.transforms.os.system
    monai.transforms.np.load LMDBDataset PerceptualLoss functools.partial functools.reduce
    operator.attrgetter operator.methodcaller types.FunctionType types.CodeType code.InteractiveConsole
    pdb.Pdb runpy.run_path importlib.import_module ctypes.CDLL medseg.cli.main medseg.cli.train.run
    medseg.bundle.run_workflow medseg.bundle.workflow.run_workflow medseg.tuning.search.search
    medseg.inference.devices.os.system medseg.methods.networks.torch.load medseg.data.cache.pickle.loads
    medseg.workers.Pool medseg.deferred.import_monai scripts.net.Net Evil
    monai.transforms.__init__.LoadImage monai.transforms..LoadImage
"""


@pytest.mark.parametrize("name", DANGEROUS.split())
def test_dangerous_targets_are_refused(name):
    assert not names.is_allowed_target(name)


COMMON = """
    UNet LoadImaged LoadImageD SaveImaged SlidingWindowInferer monai.networks.nets.UNet
    monai.networks.nets.unet.UNet CheckpointLoader StatsHandler torch.nn.CrossEntropyLoss torch.optim.Adam
    torch.optim.lr_scheduler.StepLR ignite.metrics.Accuracy medseg.transforms.steps
    medseg.transforms.LoadVolumed medseg.pipeline.SaveResults medseg.methods.regions.body
    medseg.evaluation.case_scores.score_picture
"""


@pytest.mark.parametrize("name", COMMON.split())
def test_common_targets_pass(name):
    assert names.is_allowed_target(name)
