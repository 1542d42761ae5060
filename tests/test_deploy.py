"""deploy/: the Dockerfile's steps, run without Docker in folders that stand for its images.

Run for real: each COPY, WORKDIR and ENV; `pip wheel`, and `pip install` of the wheel (without dependencies,
which are those of this environment); both entry points, from the installed wheel; the health check. Checked
alone: FROM, USER, VOLUME, EXPOSE, `pip install` of packages from the network, and `useradd`.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from doc_pages import ROOT

from medseg.phantoms.dicom_series import write_series

DEPLOY = ROOT / "deploy"
# Instead of the programs of the image: pip without the network, useradd without a user.
PIP = """#!/bin/sh
echo "pip $*" >> {log}
case "$*" in
  *hatchling*|*"torch=="*) exit 0 ;;  # they are in this environment
esac
PIP_NO_INDEX=1 PIP_NO_DEPS=1 PIP_IGNORE_INSTALLED=1 PIP_PREFIX={prefix} PIP_DISABLE_PIP_VERSION_CHECK=1 \\
  exec {python} -m pip "$@"
"""
USERADD = '#!/bin/sh\necho "useradd $*" >> {log}\n'


def instructions():
    """(instruction, arguments) of the Dockerfile, in order; a JSON form is a list."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


class Image:
    """A folder that stands for a stage of the Dockerfile."""

    def __init__(self, root, base=None):
        self.root, self.folder = root, "/"
        self.env = {} if base is None else dict(base.env)
        self.user = None if base is None else base.user
        self.entrypoint, self.cmd, self.health = [], [], None
        if base is not None:
            shutil.copytree(base.root, root, symlinks=True)
        root.mkdir(exist_ok=True)

    def path(self, name):
        absolute = os.path.normpath(os.path.join(self.folder, name))
        return self.root / absolute.lstrip("/")

    def inside(self, text):
        """A command with its absolute paths in this image's folder."""
        return re.sub(r"(?<![\w.:/])/(wheels|src|etc|var)\b", rf"{self.root}/\1", text)

    def environment(self, bin_folder):
        """Of a process in the image: the installed medseg comes before the checkout's."""
        packages = self.root / "usr/local/lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        path = [bin_folder, self.root / "usr/local/bin", Path(sys.executable).parent, "/usr/bin", "/bin"]
        return {
            **self.env,
            "PATH": os.pathsep.join(map(str, path)),
            "PYTHONPATH": str(packages / "site-packages"),
            "OMP_NUM_THREADS": "1",
        }


def is_sent(path):
    """Whether .dockerignore lets a path of the repository into the build."""
    allowed = False
    for line in (ROOT / ".dockerignore").read_text().split():
        pattern, is_back = line.removeprefix("!"), line.startswith("!")
        parts = [path, *list(Path(path).parents)[:-1]]
        if any(fnmatch(str(part), pattern) or fnmatch(f"x/{part}", pattern) for part in parts):
            allowed = is_back
    return allowed


def copy(image, arguments, images):
    """COPY [--from=STAGE] SOURCE... TARGET"""
    *sources, target = shlex.split(arguments)
    base = ROOT
    if sources[0].startswith("--from="):
        base = images[sources.pop(0).removeprefix("--from=")].root
    for source in sources:
        path = base / source.lstrip("/")
        assert path.exists(), source
        assert base != ROOT or is_sent(source.rstrip("/")), f"{source} is left out by .dockerignore"
        place = image.path(target)
        if path.is_dir():
            shutil.copytree(path, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place = place / path.name if target.endswith("/") else place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Images by name, the folder of the programs that stand in for others, and what those were asked."""
    folder = tmp_path_factory.mktemp("deploy")
    tools, log, images, image = folder / "tools", folder / "log", {}, None
    tools.mkdir()
    log.touch()
    for name, rest in instructions():
        if name == "FROM":
            base, _, stage = rest.partition(" AS ")
            assert base in images or base == "python:3.11-slim"
            image = images[stage] = Image(folder / stage, images.get(base))
        elif name == "WORKDIR":
            image.folder = rest
            image.path("").mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            copy(image, rest, images)
        elif name == "ENV":
            image.env.update(word.split("=", 1) for word in shlex.split(rest))
        elif name == "RUN":
            run(image, rest, tools, log)
        elif name in ("ENTRYPOINT", "CMD"):
            setattr(image, name.lower(), json.loads(rest))
        elif name == "HEALTHCHECK":
            image.health = None if rest == "NONE" else json.loads(rest.partition("CMD ")[2])
        elif name == "USER":
            image.user = rest
        else:
            assert name in ("VOLUME", "EXPOSE"), name
    return images, tools, log.read_text()


def run(image, command, tools, log):
    """RUN, by the shell, with stand-ins for pip and useradd."""
    values = {"log": log, "prefix": image.root / "usr/local", "python": sys.executable}
    for name, text in (("pip", PIP), ("useradd", USERADD)):
        (tools / name).write_text(text.format(**values))
        (tools / name).chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-ec", image.inside(command)],
        cwd=image.path(""),
        env={"PATH": f"{tools}:{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(image.root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def process(image, tools, *words, **more):
    """The command line of an image's entry point, started from the installed wheel."""
    program = [str(image.root / "usr/local/bin" / image.entrypoint[0]), *image.entrypoint[1:], *words]
    assert os.path.exists(program[0])
    environment = {**image.environment(tools), **more.pop("env", {})}
    return subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.slow
def test_the_images_hold_medseg_and_its_weights_and_run_as_nobody(built):
    images, _, log = built
    assert set(images) == {"wheel", "base", "mercure", "node"}
    for name in ("mercure", "node"):
        image = images[name]
        installed = next((image.root / "usr/local/lib").glob("python*/site-packages/medseg"))
        assert (installed / "bundles" / "lung_ct" / "models").is_dir()
        assert list(installed.rglob("*.pt"))
        assert image.user == "10001"
    assert re.search(r"useradd --uid 10001 .*\bmedseg$", log, re.MULTILINE)
    assert re.search(r"pip install .*-c \S*constraints.txt \S*medseg-\S*\.whl\[node,openvino\]", log)
    assert "download.pytorch.org/whl/cpu torch==" in log
    pinned = (ROOT / "constraints.txt").read_text()
    (version,) = re.findall(r"torch==(\S+)", log)
    assert f"torch=={version}\n" in pinned


@pytest.mark.slow
def test_the_module_for_mercure_segments(built, chest_phantom, tmp_path):
    images, tools, _ = built
    folder, out = tmp_path / "in", tmp_path / "out"
    write_series(chest_phantom, folder)
    out.mkdir()
    settings = {"task": "lung_ct", "method": "classical"}
    (folder / "task.json").write_text(json.dumps({"process": {"settings": settings}}))
    env = {"MERCURE_IN_DIR": str(folder), "MERCURE_OUT_DIR": str(out)}
    started = process(images["mercure"], tools, env=env, cwd=tmp_path)
    errors = started.communicate(timeout=300)[1]
    assert started.returncode == 0, errors
    (series,) = json.loads((out / "result.json").read_text())["series"]
    assert sorted(path.name for path in out.glob("*.dcm")) == series["files"]
    assert images["mercure"].health is None
    code = "import medseg; print(medseg.__file__)"
    image = images["mercure"]
    environment = {**image.environment(tools), "PYTHONSAFEPATH": "1"}  # as for the entry point: not from here
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert str(image.root) in told.stdout


@pytest.mark.slow
def test_the_node_is_healthy(built, tmp_path):
    images, tools, _ = built
    image = images["node"]
    assert image.cmd[:2] == ["serve", "--config"]
    config = yaml.safe_load(image.path(image.cmd[2]).read_text())
    ports = free_ports()
    config["home"] = str(tmp_path / "home")
    config["dicom"] |= {"host": "127.0.0.1", "port": ports[0]}
    config["rest"] |= {"host": "127.0.0.1", "port": ports[1]}
    place = tmp_path / "node.yaml"
    place.write_text(yaml.safe_dump(config))
    environment = image.environment(tools)
    with (tmp_path / "tokens.txt").open("w") as tokens:
        process(image, tools, "serve", "--new-token", "alice", stdout=tokens).communicate(timeout=60)
    node = process(image, tools, "serve", "--config", str(place), cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        check = [word.replace(":8000/", f":{ports[1]}/") for word in image.health]
        assert check != image.health
        deadline = time.monotonic() + 120
        while subprocess.run(check, env=environment, capture_output=True, timeout=60).returncode:
            assert node.poll() is None, node.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        node.terminate()
        node.communicate(timeout=60)


def free_ports():
    with socket.socket() as one, socket.socket() as two:
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def test_the_compose_file_fits_the_dockerfile():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    node = yaml.safe_load((DEPLOY / "node.yaml").read_text())
    found = list(instructions())
    stages = {rest.partition(" AS ")[2] for name, rest in found if name == "FROM"}
    for name, service in compose["services"].items():
        assert service["build"]["target"] == name
        assert name in stages
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).samefile(
            DEPLOY / "Dockerfile"
        )
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    (exposed,) = (rest for name, rest in found if name == "EXPOSE")
    inside = {port.rpartition(":")[2] for port in compose["services"]["node"]["ports"]}
    assert inside == set(exposed.split()) == {str(node["rest"]["port"]), str(node["dicom"]["port"])}
    mounted = dict(entry.split(":")[:2] for entry in compose["services"]["node"]["volumes"])
    assert mounted["./node.yaml"] in next(rest for name, rest in reversed(found) if name == "CMD")
    assert mounted["./tokens.txt"] == f"{Path(mounted['./node.yaml']).parent}/{node['rest']['tokens_file']}"
    assert mounted["medseg"] == node["home"]
    assert "medseg" in compose["volumes"]


def test_the_configuration_of_the_container_has_no_fault(tmp_path, capsys):
    from medseg.cli import main

    config = shutil.copy(DEPLOY / "node.yaml", tmp_path)
    main(["serve", "--new-token", "alice"])
    (tmp_path / "tokens.txt").write_text(capsys.readouterr().out)
    assert main(["serve", "--check", "--config", config]) == 0
    assert "no fault found" in capsys.readouterr().out


def test_what_is_left_out_of_the_build():
    assert is_sent("medseg/cli/serve.py")
    assert is_sent("bundles/lung_ct/models")
    for path in ("deploy/tokens.txt", ".git/config", "tests/test_deploy.py", "medseg/__pycache__/x.pyc"):
        assert not is_sent(path)
