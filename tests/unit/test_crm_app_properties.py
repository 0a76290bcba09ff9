"""What must hold for any input: settings, tokens and bodies nobody thought of."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stackpin.lab.apps.crm.app import checks
from stackpin.lab.apps.crm.app.app import App
from stackpin.lab.apps.crm.app.auth import Authenticator
from stackpin.lab.apps.crm.app.context import Context
from stackpin.lab.apps.crm.app.metrics import Metrics
from stackpin.lab.apps.crm.app.migrations import migrate, steps_of
from stackpin.lab.apps.crm.app.packs import PackRepository
from stackpin.lab.apps.crm.app.releases import RELEASES
from stackpin.lab.apps.crm.app.settings import (
    Dsn,
    Settings,
    SettingsError,
    load,
    parse_dsn,
    parse_duration,
    parse_listen,
)
from stackpin.lab.apps.crm.app.store import Database
from stackpin.lab.apps.serving.http import HttpError, Request

few = settings(max_examples=60, deadline=None)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    db = Database(Dsn(tmp_path_factory.mktemp("db") / "crm.db", synchronous="off"))
    migrate(db.anchor, steps_of(RELEASES["v1.1.0"]))
    yield db
    db.close()


def app_with(token: str, database: Database) -> App:
    environ = {"SUB2API_CRM_ADMIN_TOKEN": token}
    chosen = load(environ)
    return App(
        Context(
            chosen,
            RELEASES["v1.1.0"],
            database,
            Authenticator(chosen, database),
            PackRepository(None),
            Metrics("v1.1.0"),
        )
    )


def wire(text: str) -> str:
    """The text as header bytes, read the way the server reads them."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


@few
@given(st.text(min_size=1, max_size=80))
@example("$(reboot) `id` & | / \\ \" ' ; \u0085 é")
def test_any_token_that_is_accepted_opens_and_no_other_does(database: Database, token: str) -> None:
    try:
        app = app_with(token, database)
    except (SettingsError, UnicodeEncodeError):
        return
    right = Request("GET", "/api/hosts", {"authorization": f"Bearer {wire(token)}"})
    assert app(right).status == 200
    for other in (token + "x", token[:-1], "", token.swapcase() + "y"):
        wrong = Request("GET", "/api/hosts", {"authorization": f"Bearer {wire(other)}"})
        assert app(wrong).status == 401
    assert token not in repr(Settings(token=token, password=token, dsn=Dsn(Path("x")))) or (
        len(token) < 12
    )


@few
@given(
    st.sampled_from(["/api/hosts", "/api/provider-drafts", "/api/batch-import/runs"]), json_values
)
def test_any_json_body_is_answered_and_never_with_500(
    database: Database, path: str, value: object
) -> None:
    app = app_with("token", database)
    try:
        body = json.dumps(value).encode("utf-8")
    except UnicodeEncodeError:
        return
    for content in (body, json.dumps({"name": value, "manifest": value}).encode()):
        request = Request("POST", path, {"authorization": "Bearer token"}, content)
        assert app(request).status in (201, 400, 409)


@few
@given(st.dictionaries(st.sampled_from(["display_name", "base_url", "models", "ü"]), json_values))
def test_a_stored_manifest_comes_back_as_it_was(
    database: Database, manifest: dict[str, object]
) -> None:
    app = app_with("token", database)
    with database.write() as db:
        db.execute("DELETE FROM provider_drafts")
    body = {"pack_id": "p", "provider_id": "x", "manifest": manifest}
    request = Request(
        "POST", "/api/provider-drafts", {"authorization": "Bearer token"}, json.dumps(body).encode()
    )
    response = app(request)
    if response.status == 201:
        assert json.loads(response.body)["manifest"] == manifest
    else:
        assert response.status == 400


@few
@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b'{"a": 1e999}')
@example(b'{"a": "\\ud800"}')
@example(b'{"a": ' + b"9" * 10_000 + b"}")
def test_any_bytes_are_a_json_object_or_refused(body: bytes) -> None:
    try:
        value = Request("POST", "/", body=body).json()
    except HttpError as error:
        assert error.status == 400
    else:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@few
@given(st.text(max_size=60))
@example("file:?mode=memory")
@example("file:/a%2Fb.db?_busy_timeout=1&_fk=off&_sync=1")
def test_any_dsn_is_understood_or_refused(text: str) -> None:
    for parse in (parse_dsn, parse_listen, parse_duration):
        try:
            parse(text)
        except SettingsError as error:
            assert "SUB2API_CRM_" in str(error)


def test_settings_by_example() -> None:
    assert parse_dsn("file:/v/x.db?_foreign_keys=on&_busy_timeout=7000") == Dsn(
        Path("/v/x.db"), True, 7000, "full"
    )
    assert parse_dsn("file:///v/x.db?_fk=0&_sync=1&cache=shared") == Dsn(
        Path("/v/x.db"), False, 5000, "normal"
    )
    assert parse_dsn("/v/x.db").path == Path("/v/x.db")
    assert [parse_duration(text) for text in ("12h", "1h30m", "1.5s")] == [43200, 5400, 1.5]
    assert parse_listen(":18081") == ("", 18081)
    assert parse_listen("[::1]:80") == ("::1", 80)
    for bad in ("18081", "::1:80", "h:99999", "h:٣"):
        with pytest.raises(SettingsError):
            parse_listen(bad)


@few
@given(st.text(max_size=70))
@example("..")
@example("a/../b")
@example("a..b")
@example("-rf")
def test_an_identifier_is_always_one_plain_file_name(text: str) -> None:
    try:
        assert checks.slug(text, "id") == text
    except HttpError:
        return
    assert Path("folder", f"{text}.json").resolve().parent == Path("folder").resolve()
    assert not text.startswith(("-", ".")) and ".." not in text


def test_a_failed_write_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as db:
        db.execute("INSERT INTO packs VALUES ('gone', '1', 'now')")
        raise RuntimeError
    with database.read() as db:
        assert not db.execute("SELECT 1 FROM packs WHERE id = 'gone'").fetchone()
    assert database.active == 0


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    seen = threading.Event()

    def read() -> None:
        with database.read() as db:
            db.execute("SELECT count(*) FROM hosts").fetchone()
        seen.set()

    with database.write() as db:
        db.execute("INSERT INTO packs VALUES ('busy', '1', 'now')")
        threading.Thread(target=read).start()
        assert seen.wait(2)
