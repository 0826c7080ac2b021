// @vitest-environment jsdom

import { fireEvent, render, screen } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { expect, test } from "vitest";

import { ADA, BOB } from "../realtime/testing.js";
import { around, byId, happens, newClient, preparePage } from "../testing.js";
import { Chat } from "./Chat.js";
import { Header } from "./Header.js";

preparePage();

async function open({ hash = "" } = {}) {
  history.replaceState(null, "", `/${hash}`);
  const { client, server } = newClient();
  const page = (
    <>
      <Header />
      <Chat />
    </>
  );
  render(page, { wrapper: around(client) });
  await happens(() => void client.connect());
  await happens(() => {
    server.accept();
    server.joined(0, { room: client.rooms.keys().next().value });
  });
  server.heard();
  return { client, server };
}

async function goTo(hash: string): Promise<void> {
  await happens(() => {
    location.hash = hash;
  });
}

function roomNames(): (string | undefined)[] {
  return [...byId("rooms").children].map((item) => (item as HTMLElement).dataset.room);
}

test("the page says who the user is, and who is here", async () => {
  await open();
  expect(byId("user").textContent).toBe("ada");
  expect(byId("connection").textContent).toBe("Connected");
  const members = [...byId("members").children].map(({ textContent }) => textContent);
  expect(members).toEqual(["ada (you)", "bob"]);
  for (const count of document.querySelectorAll(".member-count")) {
    expect(count.textContent).toBe("2");
  }
});

test("Enter sends, and Shift+Enter begins a new line", async () => {
  const { server } = await open();
  const user = userEvent.setup();
  await user.type(byId("text"), "one{Shift>}{Enter}{/Shift}two{Enter}");
  await happens(() => undefined);
  const published = server.heard().filter(({ type }) => type === "publish");
  expect(published).toMatchObject([{ room: "lobby", data: { text: "one\ntwo" } }]);
  expect(byId("text")).toHaveProperty("value", "");
  expect(document.querySelector('[data-state="pending"] .text')?.textContent).toBe("one\ntwo");
});

test("a text that is too long or empty is not sent", async () => {
  const { server } = await open();
  fireEvent.change(byId("text"), { target: { value: " \n" } });
  fireEvent.keyDown(byId("text"), { key: "Enter" });
  fireEvent.change(byId("text"), { target: { value: "x".repeat(4_097) } });
  fireEvent.keyDown(byId("text"), { key: "Enter" });
  expect(byId("counter").textContent).toMatch(/^1 characters too many/);
  expect(byId("text").getAttribute("aria-invalid")).toBe("true");
  expect(byId("send")).toHaveProperty("disabled", true);
  expect(server.heard().filter(({ type }) => type === "publish")).toEqual([]);
});

test("an input method may use Enter for itself", async () => {
  const { server } = await open();
  fireEvent.change(byId("text"), { target: { value: "にほ" } });
  fireEvent.keyDown(byId("text"), { key: "Enter", isComposing: true });
  expect(server.heard().filter(({ type }) => type === "publish")).toEqual([]);
});

test("each room keeps what is written but not sent", async () => {
  await open();
  fireEvent.change(byId("text"), { target: { value: "for the lobby" } });
  await goTo("#news");
  expect(byId("room-title").textContent).toBe("news");
  expect(byId("text")).toHaveProperty("value", "");
  screen.getByLabelText("Message news");
  await goTo("#lobby");
  expect(byId("text")).toHaveProperty("value", "for the lobby");
});

test("rooms are entered by name, and left by a button", async () => {
  const { server } = await open();
  fireEvent.change(byId("room-name"), { target: { value: "a b" } });
  fireEvent.click(screen.getByText("Go"));
  expect(byId("room-error").textContent).toMatch(/^A room's name is/);
  expect(byId("room-name").getAttribute("aria-invalid")).toBe("true");
  fireEvent.change(byId("room-name"), { target: { value: " news " } });
  fireEvent.click(screen.getByText("Go"));
  await happens(() => undefined);
  expect(roomNames()).toEqual(["lobby", "news"]);
  expect(byId("room-error").textContent).toBe("");
  expect(screen.getByText("news", { selector: ".name" }).closest("a")?.ariaCurrent).toBe("page");
  expect(sessionStorage.getItem("rooms")).toBe('["lobby","news"]');
  server.heard();
  await happens(() => {
    screen.getByLabelText("Leave news").click();
  });
  expect(roomNames()).toEqual(["lobby"]);
  expect(byId("room-title").textContent).toBe("lobby");
  expect(server.heard()).toEqual([{ type: "leave", room: "news" }]);
  expect(screen.getByLabelText("Leave lobby").hidden).toBe(true);
});

test("an address that names no room says so, once", async () => {
  await open({ hash: "#a%20b" });
  expect(location.hash).toBe("#lobby");
  expect(screen.getAllByText(/^There is no room “a b”/)).toHaveLength(1);
});

test("unread messages are counted, and marked when their room is opened", async () => {
  const { server } = await open();
  await goTo("#news");
  await happens(() => {
    server.joined(0, { room: "news" });
    server.message(1, "in the lobby");
    server.message(2, "again", { sender: ADA });
  });
  expect(document.title).toMatch(/^\(1\)/);
  expect(byId("unread-elsewhere").hidden).toBe(false);
  const badge = document.querySelector<HTMLElement>('[data-room="lobby"] .badge');
  expect(badge?.textContent).toBe("1 unread");
  expect(badge?.hidden).toBe(false);
  await goTo("#lobby");
  expect(document.querySelector(".unread + .message .text")?.textContent).toBe("in the lobby");
  expect(document.title).not.toContain("(");
});

test("the page says who is typing, and tells others that its user is", async () => {
  const { server } = await open();
  await happens(() => {
    const signal = { type: "signal", room: "lobby", event: "chat.typing", data: {} } as const;
    server.says({ ...signal, sender: BOB });
  });
  expect(byId("typing").textContent).toBe("bob is typing…");
  await happens(() => {
    server.message(1, "hello");
  });
  expect(byId("typing").textContent).toBe("");
  fireEvent.change(byId("text"), { target: { value: "h" } });
  expect(server.heard()).toMatchObject([{ type: "signal", event: "chat.typing" }]);
});

test("a lost connection is explained, and can be tried again", async () => {
  const { server } = await open();
  await happens(() => {
    server.close(1012);
  });
  expect(byId("connection").dataset.state).toBe("waiting");
  expect(byId("connection").textContent).toBe("Reconnecting…");
  expect(byId("trouble-text").textContent).toBe("The server is restarting.");
  expect(byId("countdown").textContent).toMatch(/^Next attempt in \d s\.$/);
  await happens(() => {
    byId("reconnect").click();
  });
  expect(byId("connection").textContent).toBe("Reconnecting…");
  expect(byId("trouble-text").textContent).toBe("The server is restarting.");
  expect(server.connections).toBe(2);
  await happens(() => {
    server.accept();
  });
  expect(byId("connection").textContent).toBe("Connected");
  expect(byId("trouble-text").textContent).toBe("");
  expect(byId("reconnect").hidden).toBe(true);
});

test("the browser asks before a page is closed that has not sent everything", async () => {
  const { client, server } = await open();
  expect(window.onbeforeunload).toBeNull();
  await happens(() => {
    client.rooms.get("lobby")?.publish("chat.message", { text: "hello" });
  });
  expect(window.onbeforeunload).not.toBeNull();
  const [publish] = server.heard();
  if (publish?.type !== "publish") throw new Error("Nothing was published.");
  await happens(() => {
    server.message(1, "hello", { id: publish.id, sender: ADA });
  });
  expect(window.onbeforeunload).toBeNull();
});
