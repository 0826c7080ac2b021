"""Names that look like one another, and names that are reserved."""

import unicodedata

import pytest
from httpx import AsyncClient
from sqlalchemy import delete, select

from app.auth.accounts.database import Database
from app.auth.accounts.errors import NameTaken
from app.auth.accounts.names import clean_name, find_reserved, prototypes, skeletons
from app.auth.accounts.settings import RESERVED_NAMES
from app.auth.accounts.store import Account, Accounts, NameSkeleton
from tests.engine.test_settings import Refusal, refusal
from tests.support.auth.accounts import PASSWORD
from tests.support.server import StartServer

__all__ = ["refusal"]

pytest_plugins = ["tests.engine.auth.accounts.database"]

A, I, O, E = "\u0430", "\u0456", "\u043e", "\u0435"  # noqa: E741 - Cyrillic letters
"""They look like the Latin letters of the same names."""

ALIKE = [
    ("ada", f"{A}da"),
    ("ada", f"{A}DA"),
    ("Ada", "\N{GREEK CAPITAL LETTER ALPHA}da"),
    ("paypal", "paypaI"),
    ("IDA", f"{I}da"),
    ("bob", "b0b"),
    ("modern", "rnodern"),
    ("player1", "playerl"),
    ("zo\u00eb", f"zo{E}\u0308"),
    ("one-two", "one\N{NON-BREAKING HYPHEN}two"),
    ("ada_l", "ada\N{DASHED LOW LINE}l"),
]

UNLIKE = [
    ("ada", "ida"),
    ("zoe", "zo\u00eb"),
    ("lan", "ian"),
    ("bob", "bobo"),
    ("player1", "player2"),
    ("\u5c71\u7530", "\u5c71\u672c"),
    ("\u0438\u0432\u0430\u043d", "ivan"),
]


def look_alike(one: str, other: str) -> bool:
    return bool(skeletons(clean_name(one)) & skeletons(clean_name(other)))


@pytest.mark.parametrize(("one", "other"), ALIKE, ids=ascii)
def test_names_that_people_cannot_tell_apart_share_a_skeleton(one: str, other: str) -> None:
    assert look_alike(one, other)


@pytest.mark.parametrize(("one", "other"), UNLIKE, ids=ascii)
def test_other_names_share_none(one: str, other: str) -> None:
    assert not look_alike(one, other)


def test_no_two_letters_or_digits_of_ascii_are_taken_for_each_other_except_those_known() -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz23456789"  # 0 and 1 look like o and l
    assert len({look for char in alphabet for look in skeletons(char)}) == len(alphabet)


def test_a_prototype_has_no_prototype_of_its_own() -> None:
    known = prototypes()
    assert len(known) > 6000
    assert not [char for char, text in known.items() if any(part in known for part in text)]
    # Unicode's own examples (confusables.txt).
    assert known["\N{CYRILLIC SMALL LETTER A}"] == "a"
    assert known["m"] == "rn"
    assert known["\N{HEBREW LETTER SAMEKH}"] == "o"
    assert known["\N{BLACK-LETTER CAPITAL C}"] == "C"


@pytest.mark.parametrize("char", ["\U00010198", "\u102a", "\ufdfb", "m", "\u00df"], ids=ascii)
async def test_a_name_of_characters_with_long_prototypes_can_be_stored(
    accounts: Accounts, char: str
) -> None:
    name = unicodedata.normalize("NFKC", char * 64)[:64].strip()
    account = await accounts.add(name, PASSWORD)
    assert await accounts.verify(account.name, PASSWORD)


# --- Registered names ---------------------------------------------------------


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(database)


async def test_a_name_that_looks_like_a_taken_one_is_refused(accounts: Accounts) -> None:
    await accounts.add("ada", PASSWORD)
    with pytest.raises(NameTaken, match="A user name that looks like this one is taken"):
        await accounts.add(f"{A}da", PASSWORD)
    with pytest.raises(NameTaken, match="This user name is taken"):
        await accounts.add("Ada", PASSWORD)
    assert await accounts.verify(f"{A}da", PASSWORD) is None


async def test_of_two_concurrent_registrations_that_look_alike_one_succeeds(
    accounts: Accounts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pass_over(*_: object) -> None:
        """Both looked before the other one was stored."""

    monkeypatch.setattr(accounts, "_check_free", pass_over)
    await accounts.add("ada", PASSWORD)
    with pytest.raises(NameTaken):
        await accounts.add(f"{A}da", PASSWORD)
    async with database.transaction() as session:
        assert (await session.scalars(select(Account.name))).all() == ["ada"]


async def test_the_name_of_a_deleted_account_is_free_again(
    accounts: Accounts, database: Database
) -> None:
    await accounts.add("paypaI", PASSWORD)
    async with database.transaction() as session:
        await session.execute(delete(Account))
    async with database.transaction() as session:
        assert (await session.scalars(select(NameSkeleton.skeleton))).all() == []
    await accounts.add("paypal", PASSWORD)


# --- Reserved names -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("admin", "admin"),
        ("ADMIN", "admin"),
        ("AdmIn", "admin"),
        (f"{A}dmin", "admin"),
        ("adrnin", "admin"),
        ("r00t", "root"),
        (f"supp{O}rt", "support"),
        ("admins", None),
        ("the admin", None),
        ("rooter", None),
        (f"gu{E}st-1", "guest-*"),
        (f"GU{E}ST-", "guest-*"),
    ],
    ids=ascii,
)
def test_names_that_look_like_a_reserved_one_are_found(name: str, entry: str | None) -> None:
    assert find_reserved(clean_name(name), RESERVED_NAMES) == entry


async def test_registration_refuses_reserved_names_and_names_that_look_like_taken_ones(
    start_server: StartServer,
) -> None:
    server = await start_server(
        RESERVED_NAMES="staff-*, root", DATABASE_URL="sqlite+aiosqlite:///names.db"
    )
    async with AsyncClient(base_url=server.url) as http:

        async def register(name: str) -> tuple[int, str | None]:
            answer = await http.post(
                "/auth/register", data={"username": name, "password": PASSWORD}
            )
            return answer.status_code, answer.json().get("detail")

        reserved = (422, "This user name is reserved: choose another one.")
        assert await register("r\N{GREEK SMALL LETTER OMICRON}ot") == reserved
        assert await register("Staff-Ada") == reserved
        assert await register("admin") == (201, None)
        assert await register("ada") == (201, None)
        looks_taken = (409, "A user name that looks like this one is taken.")
        assert await register(f"{A}da") == looks_taken


async def test_a_comma_alone_reserves_no_name(start_server: StartServer) -> None:
    server = await start_server(
        RESERVED_NAMES=",", DATABASE_URL="sqlite+aiosqlite:///unreserved.db"
    )
    async with AsyncClient(base_url=server.url) as http:
        form = {"username": "root", "password": PASSWORD}
        assert (await http.post("/auth/register", data=form)).status_code == 201


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("*", "holds what can't be a user name: A user name must have 1 to 64 characters."),
        ("staff\u200d", "holds what can't be a user name: A user name must not hold"),
        ("st*ff", "may have a * at the end of a name only"),
        ("staff**", "may have a * at the end of a name only"),
    ],
)
def test_reserved_names_that_make_no_sense_stop_the_start(
    refusal: Refusal, names: str, sentence: str
) -> None:
    assert refusal(RESERVED_NAMES=names).startswith(f"Bad settings: RESERVED_NAMES {sentence}")
