"""The guided tour runs, its pictures are those of its code, and its words are in the glossary."""

import importlib
import io
import json
import re
import sys

import numpy as np
import pytest
from doc_pages import ROOT
from PIL import Image

sys.path.append(str(ROOT / "docs"))
import tour_pages

PAGES = tour_pages.pages()
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
ROWS = re.findall(
    r'^\| <a id="([^"]+)"></a>([^|]+) \| ([^|]+) \| ([^|]+) \| (.+) \|$', GLOSSARY, flags=re.MULTILINE
)
# What the glossary must explain.
TERMS = {
    "pixel": "像素",
    "pixel class": "像素类别",
    "region": "区域",
    "image object": "图像对象",
    "instance segmentation": "实例分割",
    "object segmentation": "对象分割",
    "panoptic segmentation": "全景分割",
    "closing": "闭运算",
    "gradient magnitude": "梯度幅值",
    "equivalence value": "等价值",
    "edge detection": "边缘检测",
    "neighbourhood": "邻域",
    "similarity function": "相似度函数",
    "distance transform": "距离变换",
    "contour extraction": "轮廓提取",
    "label": "标签",
    "threshold": "阈值",
    "blurring": "模糊",
    "Laplace operator": "拉普拉斯算子",
    "locality-sensitive hashing": "局部敏感哈希",
    "U-Net": "U-Net",
    "hyperparameters": "超参数",
    "model architecture": "模型架构",
    "cross-entropy": "交叉熵",
    "mean squared error": "均方误差",
    "data set": "数据集",
    "test set": "测试集",
    "Dice": "Dice 系数",
    "IoU": "交并比",
    "sliding window": "滑动窗口",
    "fold": "折",
    "predicted Dice": "预测 Dice 系数",
    "conformal interval": "共形预测区间",
    "out of distribution": "分布外",
    "repeatability coefficient": "重复性系数",
    "volume doubling time": "体积倍增时间",
    "drift": "数据漂移",
    "review": "人工审核",
}
MOST_DIFFERENT = 6  # mean difference of two JPEGs of the same picture, from 0 to 255; libraries differ


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty working directory, and MEDSEG_DATA as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.seconds
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page, own_folder):
    """Each block runs after those above it, and the picture below it is the one that it makes."""
    for name, picture in tour_pages.run(page):
        assert (name is None) == (picture is None), f"{name}: a picture after each block that makes one"
        if name:
            require_same(picture, Image.open(tour_pages.PICTURES / name), name)


def require_same(made, shown, name):
    assert np.allclose(made.size, shown.size, atol=3), f"{name}: run `make pictures`"
    made, shown = (np.asarray(each.resize((200, 100)), dtype=float) for each in (compressed(made), shown))
    assert np.abs(made - shown).mean() < MOST_DIFFERENT, f"{name}: run `make pictures`"


def compressed(picture):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=tour_pages.JPEG_QUALITY)
    return Image.open(file)


def test_another_picture_is_noticed():
    shown = Image.open(tour_pages.PICTURES / "tour_maps.jpg")
    require_same(shown, shown, "tour_maps.jpg")
    with pytest.raises(AssertionError, match="make pictures"):
        require_same(shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT), shown, "tour_maps.jpg")


def test_every_page_is_in_the_navigation_and_in_the_list():
    assert {*PAGES} == {*(ROOT / "docs" / "tour").glob("*.md")}
    listed = re.findall(r"^\| \[[^\]]+\]\((\w+\.md)\)", PAGES[0].read_text(), flags=re.MULTILINE)
    assert listed == [page.name for page in PAGES[1:]]


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.stem)
def test_a_page_ends_with_something_to_try(page):
    text = page.read_text()
    assert "\n## Try\n" in text
    assert re.search(r"API:\s", text.partition("\n## Try\n")[2])
    assert tour_pages.blocks(page)


def test_pictures_are_small():
    pictures = list(tour_pages.PICTURES.glob("tour_*.jpg"))
    shown = {name for page in PAGES for _, name in tour_pages.blocks(page) if name}
    assert {picture.name for picture in pictures} == shown
    sizes = [picture.stat().st_size for picture in pictures]
    assert max(sizes) < 60_000
    assert sum(sizes) < 1_500_000


def test_blocks_keep_to_the_line_length():
    for page in PAGES:
        for code, _ in tour_pages.blocks(page):
            assert max(map(len, code.splitlines())) <= 110, page.name


@pytest.mark.slow
def test_notebook(own_folder):
    """It opens and runs from end to end, as in Jupyter; its cells show their pictures."""
    import nbformat
    from nbclient import NotebookClient

    tour_pages.main(["notebook", "out/tour.ipynb"])
    made = nbformat.read(own_folder / "out" / "tour.ipynb", as_version=4)
    nbformat.validate(made)
    NotebookClient(made, timeout=300, kernel_name="python3").execute(cwd=str(own_folder))
    outputs = [output for cell in made.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(shown) == len(list(tour_pages.PICTURES.glob("tour_*.jpg")))


def test_the_notebook_has_the_code_of_all_pages():
    cells = json.loads(tour_pages.notebook())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code == [block.rstrip("\n") for page in PAGES for block, _ in tour_pages.blocks(page)]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert "pictures/" not in text
    assert ".md" not in text  # links that lead nowhere outside of the site


def test_the_glossary_has_every_term():
    found = {term: chinese.partition("\uff08")[0] for _, term, chinese, _, _ in ROWS}  # a bracket explains
    assert len(found) == len(ROWS)
    assert {term: found.get(term) for term in TERMS} == TERMS
    assert "## DAVID-V coefficient" in GLOSSARY
    assert "No definition" in GLOSSARY.partition("## DAVID-V coefficient")[2]
    for _, term, chinese, about, _ in ROWS:
        assert re.search("[\u4e00-\u9fff]", chinese), term
        assert about, term


@pytest.mark.parametrize(
    ("term", "computed_by"), [(row[1], row[4]) for row in ROWS], ids=[r[0] for r in ROWS]
)
def test_what_computes_a_term_exists(term, computed_by):
    (name,) = re.findall(r"`([\w.]+)`", computed_by)
    assert resolved(name).__doc__, name
    if name.startswith("medseg."):
        path = re.findall(r"\]\(\.\./([\w/]+)\.py\)", computed_by)[0].replace("/", ".")
        assert name.startswith(f"{path}."), name


def resolved(name):
    """What a dotted name means: a module, or something in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)
