"""The page of the queue, and how a browser comes in."""

import re

import pytest
from rest_node import TOKEN, client_of, listening, picture, rest_node

PNG = {"content-type": "image/png"}


@pytest.fixture
def node(tmp_path):
    return rest_node(tmp_path)


@pytest.fixture
def browser(node):
    with listening(node) as service, client_of(service, None) as found:
        yield found


def sign_in(browser):
    answer = browser.post("/login", data={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return answer.headers["set-cookie"]


def test_signing_in_and_out(browser):
    locked = browser.get("/")
    assert locked.status_code == 401
    assert 'name="token" type="password"' in locked.text
    wrong = browser.post("/login", data={"token": "wrong"})
    assert wrong.status_code == 401
    assert "No such token." in wrong.text
    cookie = sign_in(browser)
    assert TOKEN not in cookie
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "No jobs yet" in browser.get("/").text
    assert browser.post("/logout").status_code == 303
    assert browser.get("/").status_code == 401


def test_a_cookie_changes_nothing(browser, node):
    sign_in(browser)
    assert browser.get("/jobs").status_code == 200
    assert browser.post("/jobs?task=retinal_vessel", content=picture(), headers=PNG).status_code == 401
    assert browser.delete(f"/jobs/{'0' * 32}").status_code == 401
    wrong = browser.get("/jobs", headers={"authorization": "Bearer wrong"})
    assert wrong.status_code == 401
    assert browser.get("/", headers={"cookie": "medseg_session=; x=\x7f; =;"}).status_code == 401


def test_a_long_form(browser):
    assert browser.post("/login", content=b"token=" + b"x" * 5000).status_code == 408


def test_the_page_shows_every_state(browser, node):
    sign_in(browser)
    states = fill(node)
    html = browser.get("/").text
    for word in ("received", "waiting", "running", "delivering", "done", "set aside", "cancelled"):
        assert f"</b>{word}</li>" in html
    assert html.count('scope="row"') == len(states)
    assert "&lt;b&gt;an archive that answers&lt;/b&gt;" in html
    assert re.search(r'<a href="/jobs/[0-9a-f]{32}/results/report.html">report</a>', html)
    assert '<meta http-equiv="refresh" content="5">' in html
    assert not re.search(r"https?://|<script", html)


def fill(node):
    """A job in each state; the states."""
    from medseg.server.queue import STATES

    for number, state in enumerate(("done", "delivering", "running", "waiting", "set_aside", "cancelled")):
        folder = node.queue.home / f"new{number}"
        folder.mkdir()
        job, _ = node.queue.add(folder, origin="rest", identity=str(number), task="retinal_vessel", rule="")
        if state == "done":
            node.finish(job)
        elif state == "set_aside":
            node.queue.set_aside(job, "expected <b>an archive that answers</b>")
        elif state == "cancelled":
            node.queue.cancel(job)
        elif state != "waiting":
            node.queue.take()
        if state == "delivering":
            node.queue.finish(job, {}, deliver=True)
    return [state for state in STATES if state != "received"]
