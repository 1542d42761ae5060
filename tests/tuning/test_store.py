"""Stores: their addresses, and what happens while one is down."""

import pickle

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError, ProgrammingError

from medseg.errors import MedsegError, UsageError
from medseg.tuning import store as module
from medseg.tuning.store import Store, is_outage, storage_url


def never(study, trial):
    raise AssertionError


DOWN = OperationalError("SELECT 1", {}, Exception("connection refused"))


@pytest.mark.parametrize("prefix", ["postgresql://", "postgres://", "postgresql+psycopg://"])
def test_every_spelling_of_postgresql(prefix, tmp_path):
    url = storage_url(f"{prefix}me:secret@host/db", tmp_path / "study.db")
    assert url == "postgresql+psycopg://me:secret@host/db"


def test_sqlite_is_the_default_and_does_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage_url(None, tmp_path / "study.db") == f"sqlite:///{tmp_path}/study.db"
    assert storage_url("sqlite:///other.db", tmp_path / "study.db") == f"sqlite:///{tmp_path}/other.db"


@pytest.mark.parametrize("given", ["mysql://me:secret@host/db", "study.db", "sqlite:///", "redis://"])
def test_other_addresses_are_refused_without_the_password(given, tmp_path):
    with pytest.raises(UsageError, match="--storage") as error:
        storage_url(given, tmp_path / "study.db")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("password", ["secret", "sec@ret", "sec{ret}"])
def test_no_password_in_a_message(password):
    store = Store(f"postgresql+psycopg://me:{password}@127.0.0.1:9/db", never)
    assert password not in str(store)
    with pytest.raises(MedsegError, match="Start the server or correct --storage") as error:
        store.storage  # noqa: B018
    assert password not in str(error.value)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "study.db").write_text("not a database" * 100)
    with pytest.raises(MedsegError, match="a store of studies"):
        Store(f"sqlite:///{tmp_path}/study.db", never).storage  # noqa: B018


def test_a_store_of_another_version_of_optuna(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/study.db", never)
    with store.storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v9.0.0.a'")
    with pytest.raises(UsageError, match="a store that this version of Optuna can use"):
        Store(store.url, never).storage  # noqa: B018


def test_a_store_goes_to_another_process(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/study.db", print)
    store.storage  # noqa: B018
    assert pickle.loads(pickle.dumps(store)).storage is not None


def test_what_is_an_outage():
    wrapped = StorageInternalError("x")
    wrapped.__cause__ = DOWN
    assert is_outage(DOWN)
    assert is_outage(wrapped)
    assert not is_outage(ProgrammingError("SELECT", {}, Exception("no such column")))
    assert not is_outage(ValueError())


def test_it_waits_with_growing_pauses_for_minutes(tmp_path, monkeypatch, caplog):
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    store = Store(f"sqlite:///{tmp_path}/study.db", never)
    answers = [DOWN, DOWN, DOWN, "there"]

    def action():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert not store.has_just_come_back
    assert store.patiently(action) == "there"
    assert pauses == sorted(pauses) == list(module.PAUSES_S[:3])
    assert store.has_just_come_back
    answers[:] = [DOWN] * 100
    with pytest.raises(MedsegError, match="finished trials are kept"):
        store.patiently(action)
    assert 180 < sum(pauses[3:]) < 600


def test_an_error_that_is_no_outage_is_raised_at_once(tmp_path):
    with pytest.raises(ZeroDivisionError):
        Store(f"sqlite:///{tmp_path}/study.db", never).patiently(lambda: 1 / 0)
