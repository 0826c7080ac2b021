"""The html page with each style of authentication, and faults that its scenarios find."""

import re
from collections.abc import Callable, Iterator
from secrets import token_hex

import pytest
from playwright.sync_api import Browser, expect

from tests import test_pages as scenarios
from tests.app_server import AppServer
from tests.axe import barriers
from tests.chromium import chromium
from tests.people import serving_page, two_people
from tests.tab import Tab
from tests.template import Combination, choices
from tests.wire import wait_until


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module", params=choices("auth"))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AppServer]:
    """A server for each style of authentication."""
    folder = tmp_path_factory.mktemp(request.param)
    with serving_page(folder, Combination(request.param, "memory", "html")) as server:
        yield server


def test_a_page_that_is_loaded_again_finds_the_messages(
    browser: Browser, server: AppServer
) -> None:
    with two_people(browser, server) as (ada, bob):
        scenarios.test_two_people_enter_and_chat([ada, bob])
        name = ada.page.locator("#user").inner_text()
        ada.page.reload()
        ada.expect_messages("Good morning, Bob", "Good morning, Ada")
        expect(ada.notices).to_have_count(0)
        # After a reload, a guest is another user.
        is_same = ada.page.locator("#user").inner_text() == name
        own = ada.messages.and_(ada.page.locator(".own")).locator(".text")
        expect(own).to_have_text(["Good morning, Bob"] if is_same else [])


def test_two_tabs_of_one_person_exchange_messages(browser: Browser, server: AppServer) -> None:
    room = token_hex(4)
    with browser.new_context() as context:
        first = Tab(context, server.url, room)
        names = {first.enter(f"ada-{room}")}
        # With accounts, the second tab finds the session of the first one.
        second = Tab(context, server.url, room)
        names.add(second.enter(f"bob-{room}"))
        first.expect_members(*names)
        for tab, text in ((first, "from the first tab"), (second, "from the second tab")):
            tab.send(text)
            for reader in (first, second):
                expect(reader.messages.get_by_text(text)).to_be_visible()
                assert not reader.problems


@pytest.mark.parametrize("server", ["none"], indirect=True)
def test_the_page_of_the_documentation_works(browser: Browser, server: AppServer) -> None:
    guide = (server.project / "docs/client/html.md").read_text()
    main = re.findall(r"```js\n(import .*?)```", guide, re.DOTALL)[0]
    with browser.new_context() as context:
        page, said = context.new_page(), list[str]()
        page.route(
            "**/page/main.js", lambda it: it.fulfill(body=main, content_type="text/javascript")
        )
        page.on("console", lambda message: said.append(message.text))
        page.goto(server.url)
        greeting = ' chat.message {"text":"Good morning"}'
        wait_until(page, lambda: any(it.endswith(greeting) for it in said))
    assert "open" in said


# --- Faults that are planted make these scenarios fail --------------------------


Scenario = Callable[[list[Tab], AppServer], None]


def chat(people: list[Tab], _server: AppServer) -> None:
    scenarios.test_two_people_enter_and_chat(people)
    assert not [problem for tab in people for problem in tab.problems]


def send_hostile_texts(people: list[Tab], _server: AppServer) -> None:
    scenarios.test_hostile_texts_stay_texts(people)


def send_links(people: list[Tab], _server: AppServer) -> None:
    scenarios.test_a_link_is_a_link(people)


def count_unread(people: list[Tab], _server: AppServer) -> None:
    scenarios.test_unread_messages_are_counted_and_marked(people)


def scroll_back(people: list[Tab], server: AppServer) -> None:
    scenarios.test_earlier_messages_appear_where_the_reader_scrolls(people[0].page.context, server)


def use_a_keyboard(people: list[Tab], server: AppServer) -> None:
    scenarios.test_the_page_is_used_with_a_keyboard_only(people[0].page.context, server)


def look_for_barriers(people: list[Tab], _server: AppServer) -> None:
    assert barriers(people[0].page) == []


FAULTS: dict[str, tuple[Scenario, tuple[str, str, str]]] = {
    "lost": (
        chat,
        (
            "static/realtime/connection.js",
            "    this.#listeners.onMessage(message);",
            '    if (message.type !== "message") this.#listeners.onMessage(message);',
        ),
    ),
    "inline script": (
        chat,
        ("", "</body>", "<script>document.title = 1;</script></body>"),
    ),
    "inline style": (
        chat,
        ("", "</body>", '<p style="color: red">red</p></body>'),
    ),
    "no day": (
        chat,
        ("static/chat/rows.js", "dayOf(entry.sentAt) > latest", "false"),
    ),
    "markup": (
        send_hostile_texts,
        (
            "static/page/message.js",
            "text.append(...content(row.entry));",
            "text.innerHTML = textOf(row.entry);",
        ),
    ),
    "hidden address": (
        send_hostile_texts,
        ("static/chat/text.js", "\\p{Cc}\\p{Cf}", ""),
    ),
    "opener": (
        send_links,
        ("static/page/message.js", '"noopener noreferrer nofollow"', '""'),
    ),
    "no reconnection": (
        scenarios.test_the_page_comes_back_when_the_server_was_killed,
        ("static/realtime/connection.js", "setTimeout(() => void this.connect(), delay);", "0;"),
    ),
    "no unread mark": (
        count_unread,
        ("static/chat/unread.js", "state.mark = entry.key;", ";"),
    ),
    "carried away": (
        scenarios.test_who_reads_the_past_stays_there,
        ("static/page/log.js", "if (this.#atEnd || added.some(isWritten)) {", "if (true) {"),
    ),
    "place lost": (
        scroll_back,
        ("static/page/log.js", "    } else {\n      keepPlace();", "    } else {"),
    ),
    "not loaded": (
        scroll_back,
        ("static/page/log.js", "isNearStart(this.#frame)", "false"),
    ),
    "out of reach": (
        use_a_keyboard,
        ("", '<button id="skip"', '<button tabindex="-1" id="skip"'),
    ),
    "no language": (look_for_barriers, ("", '<html lang="en">', "<html>")),
}


@pytest.mark.parametrize("server", ["none"], indirect=True)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_page_is_found(browser: Browser, server: AppServer, fault: str) -> None:
    scenario, plan = FAULTS[fault]
    with two_people(browser, server, plan) as people, pytest.raises(AssertionError):
        scenario(people, server)
