"""The report page of a volume says all there is, stands alone, and lets one scroll."""

import base64
import hashlib
import io
import re
import time
import tracemalloc
from html.parser import HTMLParser

import numpy as np
import pytest
from chest_volume import LABELS, LUNG_WINDOW_HU, rotation, stored

from medseg.errors import MedsegError
from medseg.reports import write_page
from medseg.reports.picture_overlay import COLOURS
from medseg.reports.volume_overlay import contours
from medseg.reports.volume_page import MAX_SLICES
from medseg.reports.volume_views import cut, to_displayed
from medseg.volume import Mask


class Page(HTMLParser):
    """What stands in a report: elements with their attributes, texts, the script."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.script, self.text, self._in = [], "", "", ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in = tag

    def handle_data(self, data):
        if self._in == "script":
            self.script += data
        elif self._in != "style":
            self.text += data

    def handle_endtag(self, tag):
        self._in = ""

    def all(self, tag, **attributes):
        return [a for t, a in self.elements if t == tag and attributes.items() <= a.items()]


@pytest.fixture
def case():
    image, mask = stored((1, 2, 0), (-1, 1, 1))
    return {
        "image": image,
        "mask": mask,
        "window": LUNG_WINDOW_HU,
        "measurements": {
            "left_lung_volume_ml": {"value": 2345.6, "unit": "ml"},
            "left_lung_mean_hu": {"value": -812.5, "unit": "HU"},
            "laa_950_percent": {"value": None, "unit": "percent", "reason": "the slices are too thick"},
        },
        "quality": {"verdict": "warn"},
        "warnings": ["the gantry was tilted", "a < b"],
        "provenance": {"task": "lung_ct", "input": "</script><script>alert(1)</script>"},
    }


@pytest.fixture
def write(tmp_path):
    def write(**case):
        write_page(tmp_path / "report.html", **case)
        return Page((tmp_path / "report.html").read_text("utf-8"))

    return write


def _pixels(url):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA"))


class TestPage:
    def test_says_all_there_is(self, write, case):
        page = write(**case)
        text = re.sub(r"\s+", " ", page.text)
        for expected in (
            "Lung CT",
            "Left lung volume 2346 ml",
            "Left lung mean -812.5 HU",
            "Not known, because the slices are too thick: LAA 950 (percent).",
            "Review with care: 2 warnings",
            "the gantry was tilted",
            "a < b",
            "Right lung",
            "Lung window: centre \N{MINUS SIGN}600 HU, width 1500 HU",
            "All 24 axial slices",
            "20 mm",
            "research use only",
        ):
            assert expected in text, expected
        assert "Oblique" not in text
        assert "Mustermann" not in text

    def test_nothing_comes_from_elsewhere_and_only_this_script_may_run(self, write, case):
        page = write(**case)
        (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
        digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
        assert policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}'; img-src data:;")
        assert "unsafe-eval" not in policy
        assert len(page.all("script")) == 1  # the hostile file name made none
        assert "alert(1)" in page.text
        assert not re.search(r"fetch|XMLHttp|import|WebSocket|http|eval|innerHTML", page.script)
        for tag, attributes in page.elements:
            assert not {"href", "action", "srcset", "data", "background"} & set(attributes), tag
            assert not any(name.startswith("on") for name in attributes), tag
            assert attributes.get("src", "data:image/").startswith("data:image/")
            assert "url(" not in (attributes.get("style") or "")

    def test_the_script_finds_what_it_names(self, write, case):
        page = write(**case)
        ids = [a["id"] for _, a in page.elements if "id" in a]
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'getElementById\("(\w+)"\)', page.script)) <= set(ids)
        (slider,) = page.all("input", type="range")
        assert (slider["min"], slider["max"]) == ("0", "23")
        assert slider["value"] == str(24 - 15)  # the slice of the axial view, counted from the head
        assert page.all("label", **{"for": "slider"})
        assert "hidden" in page.all("div", id="controls")[0]  # of no use without the script

    def test_without_the_script_all_pictures_can_be_seen(self, write, case):
        page = write(**case)
        assert len(page.all("img")) == 2 * (3 + 24)
        assert not any("hidden" in a for tag, a in page.elements if tag in ("figure", "img"))

    def test_can_be_read_aloud(self, write, case):
        page = write(**case)
        pictures = page.all("img")
        assert all("alt" in picture for picture in pictures)
        assert pictures[0]["alt"] == (
            "Axial, slice 15 of 24, z = 170.0 mm. On the left the patient's right, on top the front. "
            "Contours of: left lung, right lung, airway."
        )
        assert all(picture["alt"] for picture in pictures if picture.get("class") != "drawing")
        (film,) = page.all("div", id="film")
        assert film["tabindex"] == "0"
        assert film["aria-label"]

    def test_pictures_and_contours_lie_on_each_other(self, write, case):
        page = write(**case)
        volume = to_displayed(case["image"], case["mask"], LUNG_WINDOW_HU)
        greys = [p for p in page.all("img") if p.get("class") != "drawing"][3:]
        drawings = [p for p in page.all("img") if p.get("class") == "drawing"][3:]
        for index in (0, 10, 23):  # from head to feet
            view = cut(volume, "axial", index, 80 / 512)
            grey, drawing = _pixels(greys[index]["src"]), _pixels(drawings[index]["src"])
            assert np.abs(grey[..., 0].astype(int) - view.grey).mean() < 2
            lines = contours(view.labels, 1)
            np.testing.assert_array_equal(drawing[..., 3], np.where(lines, 255, 0))
            for value, colour in enumerate(COLOURS[:3], 1):
                assert (drawing[lines == value, :3] == colour).all()
            assert (greys[index]["width"], greys[index]["height"]) == ("512", "384")

    @pytest.mark.parametrize(
        ("count", "shown", "said"),
        [(60, 60, "All 60"), (61, 31, "31 of 61 axial slices (every 2nd)"), (133, 45, "45 of 133")],
    )
    def test_says_how_many_of_how_many(self, write, case, count, shown, said):
        labels = np.zeros((8, 8, count), np.uint8)
        labels[2:5, 2:5, 30] = 1
        image = np.full((1, 8, 8, count), -500, np.int16)
        page = write(**case | {"image": image, "mask": Mask(labels, LABELS, np.eye(4))})
        assert said in page.text
        assert len(page.all("figure")) == 3 + shown <= 3 + MAX_SLICES
        captions = re.findall(r"Axial, slice (\d+) of", page.text)
        assert captions[0] == "31"
        assert "31" in captions[1:]  # the slice of the axial view is in the scroll
        assert int(page.all("input", type="range")[0]["value"]) == captions[1:].index("31")

    def test_an_oblique_volume_says_so(self, write, case):
        image, mask = stored(turn=rotation(12))
        assert "Oblique by 12 degrees" in write(**case | {"image": image, "mask": mask}).text

    def test_labels_that_were_not_found_and_an_empty_mask(self, write, case):
        empty = Mask(np.zeros_like(case["mask"].array), LABELS, case["mask"].affine)
        page = write(**case | {"mask": empty, "quality": {}, "warnings": []})
        assert "Left lung (none found)" in re.sub(r"\s+", " ", page.text)
        assert "No automatic quality check was made" in page.text

    def test_refuses_another_grid(self, write, case):
        with pytest.raises(MedsegError, match="a mask on the volume's grid"):
            write(**case | {"image": case["image"][:, :-1]})

    @pytest.mark.seconds
    def test_noise_stays_under_4_mb_in_little_memory_and_time(self, write, case, tmp_path):
        values = np.random.default_rng(1).integers(-1350, 150, (1, 120, 512, 512), np.int16)
        image = values.transpose(0, 3, 2, 1)
        mask = Mask((image[0] > -600).astype(np.uint8), LABELS, np.diag([-0.8, -0.8, 2.5, 1]))
        start = time.process_time()
        write(**case | {"image": image, "mask": mask})
        assert time.process_time() - start < 10
        assert (tmp_path / "report.html").stat().st_size < 4_000_000
        tracemalloc.start()
        write_page(tmp_path / "report.html", **case | {"image": image, "mask": mask})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < image.nbytes / 2
