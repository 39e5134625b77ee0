from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from tracking import AddressError, locate, mask

MARK = "Zq7x9"
FEW = settings(max_examples=50, deadline=None)
PRINTABLE = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=8)
UNBROKEN = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), max_size=8)


def test_a_folder_holds_sqlite_files(tmp_path: Path) -> None:
    found = locate(tmp_path / "a b")
    assert found.folder == tmp_path / "a b"
    assert found.optuna == f"sqlite:///{tmp_path}/a b/optuna.db"
    assert found.mlflow == f"sqlite:///{tmp_path}/a b/mlflow.db"
    assert found.users == f"sqlite:///{tmp_path}/a b/users.db"
    assert not (tmp_path / "a b").exists()


def test_a_relative_folder_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate(".paring") == locate(tmp_path / ".paring") == locate("sqlite:///.paring")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRES"])
def test_postgresql_gets_schemas(scheme: str) -> None:
    found = locate(f"{scheme}://db.lan:5433/lab?sslmode=require", schema="mine")
    assert found.folder is None
    for url, schema in (
        (found.optuna, "mine_optuna"),
        (found.mlflow, "mine_mlflow"),
        (found.users, "mine_users"),
    ):
        assert url.startswith("postgresql+psycopg://db.lan:5433/lab?")
        options = dict(make_url(url).query)["options"]
        assert options.endswith(f" -csearch_path={schema}")
        assert "-clock_timeout=10s -cidle_in_transaction_session_timeout=20s" in options
        assert "sslmode=require" in url
        assert "connect_timeout=5" in url


def test_given_options_stay() -> None:
    found = locate("postgresql://db/lab?options=-cstatement_timeout%3D9s&connect_timeout=30")
    options = dict(make_url(found.optuna).query)["options"]
    assert options.endswith(" -cstatement_timeout=9s -csearch_path=paring_optuna")  # the last wins
    assert "connect_timeout=30" in found.optuna


@pytest.mark.slow
@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("mysql://host/db", "not supported"),
        ("postgresql://host", "names no database"),
        ("postgresql://host:port/db", "not a database URL"),
        ("postgresql+asyncpg://host/db", "not supported"),
    ],
)
def test_what_is_no_database_of_ours_is_refused(location: str, words: str) -> None:
    with pytest.raises(AddressError, match=words):
        locate(location)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "optuna.db").touch()
    with pytest.raises(AddressError, match="is a file"):
        locate(tmp_path / "optuna.db")


def test_a_folder_that_urls_cannot_carry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AddressError, match=r"has \? in its name"):
        locate(tmp_path / "what?")


@pytest.mark.parametrize("schema", ["", "Upper", "1st", "a-b", "a" * 60, 'x"; drop'])
def test_unfit_schemas_are_refused(schema: str) -> None:
    with pytest.raises(AddressError, match="cannot prefix a schema"):
        locate("postgresql://host/db", schema=schema)


@FEW
@given(before=PRINTABLE, after=PRINTABLE, quoted=st.booleans())
def test_a_password_is_refused_and_not_repeated(before: str, after: str, quoted: bool) -> None:
    password = before + MARK + after
    text = quote(password, safe="") if quoted else password
    with pytest.raises(AddressError) as caught:
        locate(f"postgresql://user:{text}@host:5432/db")
    assert MARK not in str(caught.value)


@pytest.mark.parametrize("key", ["password", "PASSWORD", "pass%77ord", "sslpassword"])
@pytest.mark.parametrize("secret", [MARK, f"a@{MARK}", f"a?@{MARK}"])
def test_a_password_in_the_query_is_refused_and_not_repeated(key: str, secret: str) -> None:
    with pytest.raises(AddressError, match="PGPASSWORD") as caught:
        locate(f"postgresql://host/db?{key}={secret}")
    assert MARK not in str(caught.value)


@FEW
@given(before=PRINTABLE, after=PRINTABLE)
def test_mask_hides_the_password_of_a_url(before: str, after: str) -> None:
    masked = mask(f"postgresql://user:{before}{MARK}{after}@host:5432/db")
    assert MARK not in masked
    assert masked.startswith("postgresql://user:***@")


@pytest.mark.slow
@FEW
@given(before=UNBROKEN, after=UNBROKEN, text=st.text(max_size=20))
def test_mask_hides_passwords_inside_a_message(before: str, after: str, text: str) -> None:
    message = f"{text} failed: http://me:{before}{MARK}{after}@host/ was refused"
    assert MARK not in mask(message)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://host/db?a=1&password={MARK}&b=2",
        f"host=x password={MARK} dbname=y",
        f"host=x password = '{MARK} with \\' quote' dbname=y",
        f"PWD={MARK}",
        f"postgresql://host:5432/db?password=a@{MARK}",
    ],
)
def test_mask_hides_passwords_in_queries(text: str) -> None:
    assert MARK not in mask(text)


def test_mask_hides_tokens_of_web_addresses() -> None:
    masked = mask(f"https://{MARK}@host/hook failed; HTTP://{MARK}@host did, too")
    assert masked == "https://***@host/hook failed; HTTP://***@host did, too"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://host:5432/db?sslmode=require",
        "postgresql://me@host/db",
        "https://host/a@b",
        "/home/me/.paring",
        "no secrets here",
    ],
)
def test_mask_leaves_the_rest_alone(text: str) -> None:
    assert mask(text) == text
