import { beforeEach, describe, expect, it, vi } from "vitest";

import { NAME } from "../document.js";
import { messageOf } from "../realtime/testing.js";
import type { ScriptedServer } from "../realtime/testing.js";
import { ADA, BOB } from "../realtime/testing.js";
import { find, mountWith, scripted, settle, textsOf } from "../testing/mount.js";
import MessageLog from "./MessageLog.vue";
import type { AppRoom } from "../composables/realtime.js";

const MARKUP = "<img src=x onerror=alert(1)><b>bold</b> javascript:alert(1)";

let server: ScriptedServer;
let room: AppRoom;
let wrapper: ReturnType<typeof mountWith>;

beforeEach(async () => {
  const { client, server: scriptedServer, plugin } = scripted();
  server = scriptedServer;
  room = client.enter("lobby");
  void client.connect();
  await settle();
  server.accept();
  wrapper = mountWith(plugin, MessageLog, { name: "lobby", unreadFrom: null });
  await settle();
});

/** The room has these messages, and this client is inside. */
async function joined(...texts: string[]) {
  server.joined(texts.length);
  texts.forEach((text, index) => server.message(index + 1, text));
  await settle();
}

it("says that nothing was written once it knows that", async () => {
  expect(find("#empty").hidden).toBe(true);
  await joined();
  expect(find("#empty").hidden).toBe(false);
  server.message(1, "hello");
  await settle();
  expect(find("#empty").hidden).toBe(true);
});

it("shows messages with their senders, grouped, below their day", async () => {
  await joined("one", "two");
  server.message(3, "three", { sender: ADA });
  await settle();
  expect(textsOf("#messages .text")).toEqual(["one", "two", "three"]);
  expect(textsOf(".message:not(.follows) .sender")).toEqual([BOB.name, ADA.name]);
  expect(textsOf(".day")).toHaveLength(1);
  expect(find(".message").dataset).toMatchObject({ id: "one", state: "sent", sender: BOB.id });
  expect(find(".message.own").dataset.id).toBe("three");
});

it("keeps hostile text as text", async () => {
  await joined(MARKUP);
  server.message(2, "hello", { sender: { id: "x", name: MARKUP } });
  await settle();
  expect(find("#messages .text").textContent).toBe(MARKUP);
  expect(textsOf(".sender").at(-1)).toBe(MARKUP);
  expect(document.querySelector("#messages :is(img, b, script, a)")).toBeNull();
});

it("makes links of web addresses, which do not tell where they were followed", async () => {
  await joined("see https://example.org/a.");
  const link = find(".text a") as HTMLAnchorElement;
  expect(link.href).toBe("https://example.org/a");
  expect(link.rel).toBe("noopener noreferrer nofollow");
  expect(link.target).toBe("_blank");
  expect(find("#messages .text").textContent).toBe("see https://example.org/a.");
});

it("shows an event that it does not know with its data", async () => {
  await joined();
  const message = { ...messageOf(1, ""), event: "news.posted", data: { title: "<b>" } };
  server.says({ ...message, sender: undefined });
  await settle();
  expect(textsOf(".text")).toEqual(['news.posted {"title":"<b>"}']);
  expect(textsOf(".sender")).toEqual([NAME]);
  expect(find(".message").classList).toContain("application");
});

it("marks the first unread message", async () => {
  await joined("one", "two");
  await wrapper.setProps({ unreadFrom: room.entries[1]?.key });
  expect(textsOf("#messages > li")).toEqual(expect.arrayContaining(["New messages"]));
  expect(find(".unread").nextElementSibling?.textContent).toContain("two");
});

it("offers to send a refused message again, or to forget it", async () => {
  await joined();
  const id = room.publish("chat.message", { text: "hello" });
  await settle();
  expect(textsOf(".delivery")).toEqual(["Sending…"]);
  server.error("refused", id, "not so loud");
  await settle();
  expect(find(".delivery").textContent).toContain("Not so loud.");
  find(".retry").click();
  await settle();
  expect(find(".message").dataset.state).toBe("pending");
  server.error("refused", id, "not so loud");
  await settle();
  find(".discard").click();
  await settle();
  expect(document.querySelector(".message")).toBeNull();
  expect(document.activeElement).toBe(find("#log"));
});

describe("earlier messages", () => {
  beforeEach(async () => {
    server.joined(60);
    server.message(60, "sixty");
    await settle();
    server.heard();
  });

  it("come on request, above the others", async () => {
    const button = find("#earlier");
    button.focus();
    expect(button.hidden).toBe(false);
    expect(button.textContent.trim()).toBe("Earlier messages");
    button.click();
    await settle();
    expect(button.textContent.trim()).toBe("Loading…");
    expect(server.heard()).toMatchObject([{ type: "history", room: "lobby", before: 60 }]);
    const messages = [messageOf(1, "one")];
    server.says({ type: "history", room: "lobby", epoch: "e1", messages, complete: true });
    await settle();
    expect(textsOf(".text")).toEqual(["one", "sixty"]);
    expect(button.hidden).toBe(true);
    expect(document.activeElement).toBe(find("#log"));
  });

  it("come when the reader scrolls to the start", async () => {
    const log = find("#log");
    vi.spyOn(log, "scrollHeight", "get").mockReturnValue(2000);
    log.scrollTop = 1000;
    log.dispatchEvent(new Event("scroll"));
    await settle();
    expect(server.heard()).toEqual([]);
    log.scrollTop = 0;
    log.dispatchEvent(new Event("scroll"));
    await settle();
    expect(server.heard()).toMatchObject([{ type: "history", before: 60 }]);
  });
});

describe("for a reader who has scrolled up", () => {
  beforeEach(async () => {
    await joined("one");
    const log = find("#log");
    vi.spyOn(log, "scrollHeight", "get").mockReturnValue(2000);
    log.scrollTop = 1000;
    log.dispatchEvent(new Event("scroll"));
    log.scrollTop = 500;
    log.dispatchEvent(new Event("scroll"));
  });

  it("it counts new messages, and leads to them", async () => {
    server.message(2, "two");
    server.message(3, "three");
    await settle();
    expect(find("#new-messages").textContent.trim()).toBe("2 new messages");
    find("#new-messages").click();
    await settle();
    expect(find("#log").scrollTop).toBe(2000);
    expect(find("#new-messages").hidden).toBe(true);
    expect(document.activeElement).toBe(find("#log"));
  });

  it("it goes to the end when the reader sends a message", async () => {
    room.publish("chat.message", { text: "mine" });
    await settle();
    expect(find("#log").scrollTop).toBe(2000);
  });
});

it("is silent while a room is shown that was there before, and announces what comes", async () => {
  vi.useFakeTimers();
  await joined("one");
  expect(find("#log").getAttribute("aria-live")).toBe("off");
  await vi.advanceTimersByTimeAsync(500);
  expect(find("#log").hasAttribute("aria-live")).toBe(false);
  server.message(2, "two");
  await settle();
  expect(find("#log").hasAttribute("aria-live")).toBe(false);
});
