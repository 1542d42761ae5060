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
from medseg.reports.tones import tones_of
from medseg.reports.volume_overlay import contours
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
            "Left lung volume 2 346 ml",
            "Left lung mean -812 HU",
            "Not known, because the slices are too thick: LAA 950 (percent).",
            "Review with care: 2 warnings",
            "the gantry was tilted",
            "a < b",
            "Right lung",
            "Lung window: centre \N{MINUS SIGN}600 HU, width 1500 HU",
            "All 24 axial slices, from head to feet",
            "All 30 coronal slices, from front to back",
            "All 40 sagittal slices, from right to left",
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
        sliders = page.all("input", type="range")
        assert [slider["max"] for slider in sliders] == ["23", "29", "39"]
        assert sliders[0]["value"] == str(24 - 15)  # the slice of the axial view, counted from the head
        assert all(page.all("label", **{"for": slider["id"]}) for slider in sliders)
        unseen = [*page.all("div", **{"class": "controls"}), *page.all("span", id="levels")]
        unseen += page.all("span", id="measuring")
        assert len(unseen) == 5
        assert all("hidden" in a for a in unseen)  # of no use without the script

    def test_without_the_script_all_pictures_can_be_seen(self, write, case):
        page = write(**case)
        assert len(page.all("img")) == 2 * (3 + 24 + 30 + 40)
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
        films = page.all("div", **{"class": "film"})
        assert [film["aria-label"] for film in films] == ["Axial slices", "Coronal slices", "Sagittal slices"]
        assert {film["tabindex"] for film in films} == {"0"}

    def test_pictures_and_contours_lie_on_each_other(self, write, case):
        page = write(**case)
        volume = to_displayed(case["image"], case["mask"], LUNG_WINDOW_HU)
        greys = [p for p in page.all("img") if p.get("class") != "drawing"][3:]
        drawings = [p for p in page.all("img") if p.get("class") == "drawing"][3:]
        for index in (0, 10, 23):  # from head to feet
            view = cut(volume, "axial", index, 80 / 512, tones_of(LUNG_WINDOW_HU).encode)
            grey, drawing = _pixels(greys[index]["src"]), _pixels(drawings[index]["src"])
            assert np.abs(grey[..., 0].astype(int) - view.grey).mean() < 2
            lines = contours(view.labels, 1)
            np.testing.assert_array_equal(drawing[..., 3], np.where(lines, 255, 0))
            for value, colour in enumerate(COLOURS[:3], 1):
                assert (drawing[lines == value, :3] == colour).all()
            assert (greys[index]["width"], greys[index]["height"]) == ("512", "384")

    @pytest.mark.parametrize(
        ("count", "shown", "said"),
        [(133, 133, "All 133 axial slices"), (251, 126, "126 of 251 axial slices (every 2nd)")],
    )
    def test_says_how_many_of_how_many(self, write, case, count, shown, said):
        labels = np.zeros((8, 8, count), np.uint8)
        labels[2:5, 2:5, 30] = 1
        image = np.full((1, 8, 8, count), -500, np.int16)
        page = write(**case | {"image": image, "mask": Mask(labels, LABELS, np.eye(4))})
        assert said in page.text
        assert len(page.all("figure")) == 3 + shown + 16
        captions = re.findall(r"Axial, slice (\d+) of", page.text)
        assert captions[0] == "31"
        assert len(captions) == 1 + shown
        assert "31" in captions[1:]  # the slice of the axial view is in the scroll
        assert int(page.all("input", type="range")[0]["value"]) == captions[1:].index("31")

    def test_windows_turn_codes_into_grey(self, write, case):
        """A filter's table gives each code the grey that the window gives its value."""
        page = write(**case)
        tables = [a["tablevalues"] for a in page.all("fefuncr")]
        assert len(tables) == 4  # lung, soft tissue, bone and the reader's own
        values = np.array([-1350, -1024, -850, -600, -150, 40, 100, 240, 900, 3000], np.int16)
        codes = tones_of(LUNG_WINDOW_HU).encode(values)
        for table, window in zip(tables, ((-600, 1500), (40, 400), (400, 1800)), strict=False):
            grey = np.array(table.split(), float)[codes]
            wanted = ((values - window[0]) / window[1] + 0.5).clip(0, 1)
            wanted[0] = wanted[1]  # below -1024 HU nothing is measured
            assert np.abs(grey - wanted)[:-1].max() < 0.015
        choices = [a for a in page.all("input", name="window") if "data-centre" in a]
        assert [(a["data-centre"], a["data-width"]) for a in choices] == [
            ("-600", "1500"),
            ("40", "400"),
            ("400", "1800"),
        ]

    def test_a_volume_without_hu_has_its_own_window_alone(self, write, case):
        page = write(**case | {"window": None})
        assert len(page.all("fefuncr")) == 2
        assert page.all("span", id="levels")[0]["data-codes"] == "[0, 255]"

    def test_distances_are_in_mm(self, write, case):
        panes = write(**case).all("div", **{"class": "pane"})
        for pane in panes:
            assert pane["data-unit"] == "mm"
            assert pane["data-across"] == pane["data-down"]
        wide = {round(float(pane["data-across"]) * int(pane["data-columns"])) for pane in panes}
        assert wide == {80, 60}  # 40 and 30 voxels of 2 mm

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
    def test_noise_stays_under_6_mb_in_little_memory_and_time(self, write, case, tmp_path):
        values = np.random.default_rng(1).integers(-1350, 150, (1, 120, 512, 512), np.int16)
        image = values.transpose(0, 3, 2, 1)
        mask = Mask((image[0] > -600).astype(np.uint8), LABELS, np.diag([-0.8, -0.8, 2.5, 1]))
        start = time.process_time()
        write(**case | {"image": image, "mask": mask})
        assert time.process_time() - start < 10
        assert (tmp_path / "report.html").stat().st_size < 6_000_000
        tracemalloc.start()
        write_page(tmp_path / "report.html", **case | {"image": image, "mask": mask})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < image.nbytes / 2
