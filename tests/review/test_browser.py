"""The review page in a browser, opened from a folder: what is seen is what is edited, and what is saved."""

import base64
import gzip
import hashlib
import io
import json
import shutil
import time

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from review_results import LABELS, picture_case, volume_case

from medseg.review.page import write_review

CHROMIUM, DRIVER = (
    shutil.which(name) or shutil.which(other)
    for name, other in (("chromium", "google-chrome"), ("chromedriver", "chromium-driver"))
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
]
WAIT_S = 60


def turned(degrees, affine):
    """An oblique grid: turned about the x and the z axis."""
    a, b = np.radians(degrees)
    about_x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    about_z = [[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(about_x) @ np.array(about_z)
    return matrix @ affine


def grid(columns):
    """An affine whose columns are the directions of i, j and k in RAS+ mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(columns).T
    affine[:3, 3] = (12, -30, 45)
    return affine


AXIAL = grid([(-0.8, 0, 0), (0, -0.9, 0), (0, 0, 2.5)])
GRIDS = {
    "axial": AXIAL,
    "coronal": grid([(-0.8, 0, 0), (0, 0, -0.9), (0, 2.5, 0)]),
    "sagittal, flipped": grid([(0, 0.9, 0), (0, 0, -0.8), (2.0, 0, 0)]),
    "oblique": turned((17, -11), AXIAL),
}
QUALITY = {
    "verdict": "pass",
    "reasons": [],
    "predicted_dice": {
        "left_lung": {"value": 0.93, "interval": [0.88, 0.96]},
        "right_lung": {"value": 0.62, "interval": [0.41, 0.83]},
    },
    "novelty": {"distance": 12.0, "percentile": 97.56},
}
MARK = (5, 13, 9)  # of a grid of (22, 26, 18)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads):
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (
        *("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1400,900"),
        *("use-gl=angle", "use-angle=swiftshader", "enable-unsafe-swiftshader"),
    ):
        options.add_argument(f"--{word}")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Volumes in several orientations with a bright voxel that the mask holds, and a picture with one."""
    home = tmp_path_factory.mktemp("browser")
    out, images = home / "out", home / "images"
    values, mask = np.zeros((22, 26, 18), np.int16), np.zeros((22, 26, 18), np.uint8)
    values[MARK], mask[MARK] = 1000, 2
    for name, affine in GRIDS.items():
        volume_case(out, images, name, values, mask, affine, quality=QUALITY if name == "coronal" else None)
    picture, labels = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    picture[11, 47], labels[11, 47] = 255, 1
    odd = ["<img src=x onerror=\"document.title='hacked'\"> & 'quoted'"]
    picture_case(out, images, "picture", picture, labels, warnings=odd)
    write_review(out)
    return out


class Page:
    """What a reviewer does, by mouse and keyboard."""

    def __init__(self, browser, out, downloads):
        self.browser, self.out, self.downloads = browser, out, downloads
        browser.get((out / "review" / "index.html").as_uri())
        browser.execute_script("medsegReview.app.decisions.forget()")
        self.find("reviewer").clear()

    def find(self, name):
        return self.browser.find_element("id", name)

    def text(self, name):
        return self.find(name).text

    def open(self, case, viewer="PlanesView"):
        """Open a case; without a graphics card NiiVue is loaded when 3D is asked for."""
        self.browser.find_element("xpath", f"//button[text()='{case}']").click()
        self.wait(lambda: self.find("tools").is_displayed() and not self.text("message"))
        name = "return medsegReview.app.view.constructor.name"
        if viewer == "NiivueView":
            self.choose("layout", "all")
            self.wait(lambda: self.browser.execute_script(name) == viewer and not self.text("message"))

    def wait(self, ready):
        end = time.monotonic() + WAIT_S
        while not ready():
            assert time.monotonic() < end, self.browser.get_log("browser")
            time.sleep(0.1)

    def press(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def canvas(self):
        return self.browser.find_element("css selector", "#viewer canvas")

    def picture(self):
        return np.asarray(Image.open(io.BytesIO(self.canvas().screenshot_as_png)).convert("RGB"))

    def bright(self):
        """The centre of what is white on the canvas, (x, y) px."""
        rows, columns = np.nonzero((self.picture() > 245).all(axis=2))
        assert len(rows) > 4
        assert max(np.ptp(rows), np.ptp(columns)) < 100  # one thing alone is white
        return float(columns.mean()), float(rows.mean())

    def click(self, x, y):
        from selenium.webdriver import ActionChains

        canvas = self.canvas()
        at = [round(x - canvas.size["width"] / 2), round(y - canvas.size["height"] / 2)]
        ActionChains(self.browser).move_to_element_with_offset(canvas, *at).click().perform()

    def choose(self, name, value):
        self.browser.execute_script(
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input', {bubbles: true}))",
            name,
            value,
        )

    def save(self, reviewer="B. Tester"):
        """The content of the file that the page saves."""
        for old in self.downloads.iterdir():
            old.unlink()
        if not self.find("reviewer").get_attribute("value"):
            self.find("reviewer").send_keys(reviewer)
        self.find("save").click()
        self.wait(lambda: list(self.downloads.glob("review-*.json")))
        return json.loads(next(self.downloads.glob("review-*.json")).read_text())


@pytest.fixture
def page(browser, results, downloads):
    found = Page(browser, results, downloads)
    yield found
    problems = [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert problems == []
    browser.execute_script("medsegReview.app.decisions.forget()")


def decoded_volume(entry, tmp_path):
    (tmp_path / entry["name"]).write_bytes(base64.b64decode(entry["data"]))
    return nib.load(tmp_path / entry["name"])


@pytest.mark.parametrize("viewer", ["PlanesView", "NiivueView"])
@pytest.mark.parametrize("name", GRIDS)
def test_a_voxel_that_is_seen_and_clicked_is_the_one_in_the_file(page, name, viewer, tmp_path):
    page.open(name, viewer)
    original = nib.load(page.out / name / "segmentation.nii.gz")
    expected = np.asarray(original.dataobj).copy()
    expected[MARK] = 1
    page.press("o")  # the mask, so that its colour does not hide the voxel
    page.choose("size", 1)
    for plane in STEPS:
        page.choose("layout", plane)
        page.press("b", "1")
        page.click(*page.bright())
        saved = page.save()["cases"][name]
        edited = decoded_volume(saved["edited"], tmp_path)
        assert saved["decision"] == "edit"
        assert edited.get_data_dtype() == np.uint8
        assert np.array_equal(np.asarray(edited.dataobj), expected)
        assert np.array_equal(edited.affine, original.affine)
        assert bytes(edited.header.binaryblock) == bytes(original.header.binaryblock)
        page.press("z", "l")


# Screen directions by RAS+: the patient's right and front are on the left.
STEPS = {
    "axial": {"\ue014": (-1, 0, 0), "\ue013": (0, 1, 0), "\ue00e": (0, 0, 1)},
    "coronal": {"\ue014": (-1, 0, 0), "\ue013": (0, 0, 1), "\ue00e": (0, 1, 0)},
    "sagittal": {"\ue014": (0, -1, 0), "\ue013": (0, 0, 1), "\ue00e": (1, 0, 0)},
}


@pytest.mark.parametrize("plane", STEPS)
@pytest.mark.parametrize(("name", "viewer"), [("coronal", "PlanesView"), ("oblique", "NiivueView")])
def test_keys_move_as_the_patient_lies(page, name, viewer, plane, tmp_path):
    """Arrow right, arrow up, page up: each step goes one voxel along the nearest axis of the patient."""
    page.open(name, viewer)
    page.choose("layout", plane)
    page.canvas().click()
    page.press("b", "1", *"[[[")
    marks = np.asarray(MARK)
    page.browser.execute_script(
        "const v = medsegReview.app.view; v.moveTo(arguments[0])", as_seen(name, marks)
    )
    want = marks.copy()
    for key, direction in STEPS[plane].items():
        page.press(key)
        want = want + step_along(name, np.array(direction))
    page.press(" ")
    edited = decoded_volume(page.save()["cases"][name]["edited"], tmp_path)
    assert np.argwhere(np.asarray(edited.dataobj) == 1).tolist() == [want.tolist()]


def step_along(name, direction):
    """One step of a voxel along the array axis that is nearest to a direction of RAS+."""
    cosines = GRIDS[name][:3, :3] / np.linalg.norm(GRIDS[name][:3, :3], axis=0)
    along = direction @ cosines
    axis = int(np.abs(along).argmax())
    return np.eye(3, dtype=int)[axis] * int(np.sign(along[axis]))


def as_seen(name, voxel):
    """A voxel in the order (x, y, z) of the page, which turns the axes to RAS+."""
    codes = nib.orientations.io_orientation(GRIDS[name]).astype(int)
    seen = [0, 0, 0]
    for axis, (world, sign) in enumerate(codes):
        seen[world] = int(voxel[axis] if sign > 0 else (22, 26, 18)[axis] - 1 - voxel[axis])
    return seen


def test_a_pixel_of_a_picture(page):
    page.open("picture")
    page.press("o")
    where = page.bright()
    page.choose("size", 1)
    page.press("e")
    page.click(*where)
    saved = page.save()
    entry = saved["cases"]["picture"]
    data = base64.b64decode(entry["edited"]["data"])
    labels = np.asarray(Image.open(io.BytesIO(data)))
    assert labels.shape == (40, 60)
    assert labels.dtype == np.uint8
    assert not labels.any()
    mask = (page.out / "picture" / "segmentation.png").read_bytes()
    assert entry["mask_sha256"] == hashlib.sha256(mask).hexdigest()
    assert {key: saved[key] for key in ("format", "version", "reviewer")} == {
        "format": "medseg-review",
        "version": 1,
        "reviewer": "B. Tester",
    }
    assert set(entry) == {"mask_sha256", "decision", "comment", "seconds", "edited"}


def test_texts_of_files_are_texts(page):
    assert page.browser.title == "Review"
    assert "<img src=x" in page.text("cases")


def test_brush_fill_undo_and_discard(page):
    page.open("picture")
    script = "return Array.from(medsegReview.app.view.map.data).reduce((sum, n) => sum + (n > 0), 0)"

    def count():
        return page.browser.execute_script(script)

    page.press("b")
    page.choose("size", 1)
    scale = page.browser.execute_script("const v = medsegReview.app.view; return [v.left, v.top, v.scale]")

    def at(column, row):
        return scale[0] + (column + 0.5) * scale[2], scale[1] + (row + 0.5) * scale[2]

    for corners in [((10, 10), (20, 10)), ((20, 10), (20, 20)), ((20, 20), (10, 20)), ((10, 20), (10, 10))]:
        drag(page, *(at(*corner) for corner in corners))
    assert count() == 1 + 40
    page.press("f")
    page.click(*at(15, 15))
    assert count() == 1 + 121
    page.press("z")
    assert count() == 1 + 40
    page.press("y")
    assert count() == 1 + 121
    page.press("f")
    page.click(*at(5, 5))
    assert "open to the border" in page.text("message")
    assert count() == 1 + 121
    page.press("a")
    page.wait(lambda: page.find("discard").is_displayed())
    assert page.text("accept") == "Accept the edited mask"
    page.find("discard").click()
    page.wait(lambda: not page.find("discard").is_displayed())
    assert count() == 1


def drag(page, start, end):
    from selenium.webdriver import ActionChains

    size = page.canvas().size
    offsets = [[round(x - size["width"] / 2), round(y - size["height"] / 2)] for x, y in (start, end)]
    actions = (
        ActionChains(page.browser).move_to_element_with_offset(page.canvas(), *offsets[0]).click_and_hold()
    )
    actions.move_to_element_with_offset(page.canvas(), *offsets[1]).release().perform()


def test_decisions_are_loaded_again_and_stale_ones_are_left_out(page, tmp_path):
    page.open("axial")
    page.press("b", "1", " ")
    page.press("n")
    page.wait(lambda: page.text("case-title") != "axial")
    page.press("r")
    page.find("comment").send_keys("wrong side")
    saved = page.save()
    other = page.text("case-title")
    assert saved["cases"]["axial"]["decision"] == "edit"
    assert saved["cases"][other] | {"mask_sha256": 0, "seconds": 0} == {
        **{"mask_sha256": 0, "decision": "reject", "comment": "wrong side", "seconds": 0}
    }
    saved["cases"][other]["mask_sha256"] = "0" * 64
    saved["cases"]["nobody"] = saved["cases"][other]
    file = tmp_path / "decisions.json"
    file.write_text(json.dumps(saved))
    page.browser.execute_script("medsegReview.app.decisions.forget()")
    page.browser.execute_script("document.getElementById('file').hidden = false")
    page.find("file").send_keys(str(file))
    page.wait(lambda: "loaded" in page.text("state"))
    assert "1 decisions of B. Tester were loaded. 2 were left out" in page.text("state")
    page.browser.execute_script("medsegReview.app.open('axial')")
    page.wait(lambda: page.find("discard").is_displayed())
    again = page.save()["cases"]["axial"]["edited"]["data"]
    data = gzip.decompress(base64.b64decode(again))
    assert data == gzip.decompress(base64.b64decode(saved["cases"]["axial"]["edited"]["data"]))


def test_unsaved_work_is_there_after_a_crash(page):
    page.open("picture")
    page.press("b", "1", " ", *["\ue014"] * 3, " ")
    page.press("a")
    page.wait(lambda: page.text("count").startswith("1 of"))
    page.browser.get((page.out / "review" / "index.html").as_uri())
    page.wait(lambda: "restored" in page.text("state"))
    page.wait(lambda: "Edited" in page.text("cases"))
    assert page.save()["cases"]["picture"]["decision"] == "edit"


def test_addresses_of_cases(page):
    """On a page that is open, too; and one whose % is no code."""
    page.browser.execute_script("location.hash = 'axial'")
    page.wait(lambda: page.text("case-title").startswith("axial"))
    page.browser.execute_script("location.hash = 'oblique'")
    page.wait(lambda: page.text("case-title").startswith("oblique"))
    page.browser.get("about:blank")
    page.browser.get((page.out / "review" / "index.html").as_uri() + "#100%")
    page.wait(lambda: page.text("state") == "No case is named 100%.")
    page.open("axial")


def test_filters(page):
    page.choose("filter-verdict", "warn")
    assert page.text("shown") == "1 of 5 cases"
    page.choose("filter-verdict", "")
    page.choose("filter-text", "OBLI")
    assert page.text("shown") == "1 of 5 cases"
    page.choose("filter-text", "")
    page.choose("filter-label", "Right lung")
    assert page.text("shown") == "4 of 5 cases"
    page.choose("filter-dice", "0.7")
    assert page.text("shown") == "1 of 5 cases"
    assert "0.62\n0.41 to 0.83\nRight lung\n98% Pass" in page.text("cases")
    page.choose("filter-dice", "none")
    assert page.text("shown") == "3 of 5 cases"
    page.choose("filter-dice", "")
    page.choose("filter-novelty", "95")
    assert page.text("shown") == "1 of 5 cases"


@pytest.mark.parametrize(
    ("order", "first"),
    [("dice", "coronal"), ("bound", "coronal"), ("novelty", "coronal"), ("name", "axial")],
)
def test_orders(page, order, first):
    page.choose("order", order)
    assert page.browser.find_element("css selector", "#cases .name").text == first


def test_every_control_has_a_name(page):
    page.open("axial")
    unnamed = page.browser.execute_script(
        """const kinds = "button, select, input, textarea, a[href], canvas, img";
        return Array.from(document.querySelectorAll(kinds))
        .filter((e) => e.checkVisibility() && !(e.textContent.trim() && e.tagName !== "SELECT") &&
        !e.getAttribute("aria-label") && !e.labels?.length && e.getAttribute("alt") === null)
        .map((e) => e.outerHTML)"""
    )
    assert unnamed == []


def test_a_thousand_cases_open_in_three_seconds(browser, tmp_path):
    grid = np.zeros((8, 8), np.uint8)
    picture_case(tmp_path / "out", tmp_path / "images", "one", grid, grid, labels=LABELS)
    page = write_review(tmp_path / "out")
    text = (page.parent / "cases.js").read_text()
    case = json.loads(text.removeprefix("medsegReview.begin(").removesuffix(");\n"))["cases"][0]
    cases = [{**case, "name": f"case {n}", "warnings": [f"warning {n}"] * 3} for n in range(1000)]
    (page.parent / "cases.js").write_text(f"medsegReview.begin({json.dumps({'cases': cases})});")
    browser.get("about:blank")
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})  # seconds of the processor
    browser.get(page.as_uri())
    assert browser.find_element("id", "shown").text == "1000 cases"
    shown = len(browser.find_elements("css selector", "#cases tr"))
    assert 100 <= shown < 1000  # the others follow as the list is scrolled
    assert browser.find_element("id", "more").is_displayed()
    browser.execute_script("document.getElementById('more').click()")
    assert len(browser.find_elements("css selector", "#cases tr")) > shown
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    seconds = {metric["name"]: metric["value"] for metric in metrics}["TaskDuration"]
    assert seconds < 3  # of the page's own work, however busy the machine is
