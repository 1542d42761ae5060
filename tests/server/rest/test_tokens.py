"""Who is let in, and how a file of tokens may be wrong."""

import logging
import os

import pytest

from medseg.errors import MedsegError, UsageError
from medseg.server.rest.tokens import SESSION_S, Sessions, Tokens, new_token


def file_of(folder, *lines):
    path = folder / "tokens.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    return path


def test_a_new_token_lets_in(tmp_path):
    token, line = new_token("anna")
    other, _ = new_token("anna")
    assert token != other
    assert token not in line
    tokens = Tokens(file_of(tmp_path, "# the wards", "", line))
    assert tokens.name_of(token) == "anna"
    assert tokens.name_of(other) is None
    assert tokens.name_of("") is None
    assert tokens.name_of("\udcff\x00") is None


def test_the_command_makes_a_token(tmp_path, capsys):
    """The line for the file on one stream, the token on the other."""
    from medseg.cli import main

    assert main(["serve", "--new-token", "anna"]) == 0
    out, err = capsys.readouterr()
    token = err.split()[-1]
    assert Tokens(file_of(tmp_path, out)).name_of(token) == "anna"
    assert token not in out
    assert main(["serve", "--new-token", "a b"]) == 2


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\nb", "x" * 65])
def test_names_of_a_token(name):
    with pytest.raises(UsageError, match="a name of at most 64"):
        new_token(name)


def test_a_changed_file_is_read_again(tmp_path):
    first, line = new_token("anna")
    second, other = new_token("bert")
    path = file_of(tmp_path, line)
    tokens = Tokens(path)
    path.write_text(f"{line}\n{other}\n")
    assert tokens.name_of(second) == "bert"
    path.write_text(f"{other}\n# anna has left, and this is longer\n")
    assert tokens.name_of(first) is None
    assert tokens.name_of(second) == "bert"


def test_a_file_that_became_bad_lets_nobody_in(tmp_path, caplog):
    token, line = new_token("anna")
    path = file_of(tmp_path, line)
    tokens = Tokens(path)
    path.write_text("a-plain-token-that-someone-wrote-down\n")
    assert tokens.name_of(token) is None
    assert "nobody is let in" in caplog.text
    assert "plain" not in caplog.text
    path.unlink()
    assert tokens.name_of(token) is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "at least one token; got none in tokens.txt"),
        (("# none yet",), "at least one token"),
        (("anna:secret",), "lines of the form name:SHA-256 .* got another one at line 1"),
        ((f"anna:{'A' * 64}",), "lines of the form name:SHA-256"),
    ],
    ids=["empty", "comment", "plain", "capitals"],
)
def test_bad_files(tmp_path, lines, message):
    with pytest.raises(MedsegError, match=message) as caught:
        Tokens(file_of(tmp_path, *lines))
    assert "secret" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(MedsegError, match=r"a file of tokens; got none\.txt, which can't be read"):
        Tokens(tmp_path / "none.txt")


def test_a_file_that_others_can_read_is_warned_of(tmp_path, caplog):
    path = file_of(tmp_path, new_token("anna")[1])
    with caplog.at_level(logging.WARNING):
        Tokens(path)
        assert caplog.text == ""
        path.chmod(0o644)
        Tokens(path)
    assert "chmod 600" in caplog.text


def test_sessions(tmp_path):
    token, line = new_token("anna")
    path = file_of(tmp_path, line)
    clock = [0.0]
    sessions = Sessions(Tokens(path), lambda: clock[0])
    assert sessions.begin("wrong") is None
    session = sessions.begin(token)
    assert token not in session
    assert sessions.name_of(session) == "anna"
    assert sessions.name_of("another") is None
    clock[0] = SESSION_S + 1
    assert sessions.name_of(session) is None
    session = sessions.begin(token)
    path.write_text(new_token("bert")[1])
    os.utime(path, ns=(1, 1))
    assert sessions.name_of(session) is None


def test_sessions_are_bounded(tmp_path):
    token, line = new_token("anna")
    sessions = Sessions(Tokens(file_of(tmp_path, line)))
    first = sessions.begin(token)
    for _ in range(1000):
        last = sessions.begin(token)
    assert sessions.name_of(first) is None
    assert sessions.name_of(last) == "anna"
