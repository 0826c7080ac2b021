import { beforeEach, expect, test, vi } from "vitest";

import { FakeRoom, message } from "./testing.js";
import { titleWith, Unread, type Rooms } from "./unread.js";

let lobby: FakeRoom;
let news: FakeRoom;
let client: FakeClient;
let unread: Unread;

class FakeClient {
  rooms = new Map<string, FakeRoom["room"]>();
  #listeners = new Set<() => void>();

  get client(): Rooms {
    return this;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  has(...rooms: FakeRoom[]): void {
    this.rooms = new Map(rooms.map(({ name, room }) => [name, room]));
    for (const listener of this.#listeners) listener();
  }
}

beforeEach(() => {
  lobby = new FakeRoom("lobby");
  news = new FakeRoom("news");
  client = new FakeClient();
  client.has(lobby);
  unread = new Unread(client.client, true);
  client.has(lobby, news);
  unread.show("lobby");
});

test("messages in other rooms are unread until the room is shown", () => {
  news.receives(message("one"));
  news.receives(message("two"));
  expect(unread.count("news")).toBe(2);
  expect(unread.total).toBe(2);
  unread.show("news");
  expect(unread.count("news")).toBe(0);
  expect(unread.total).toBe(0);
});

test("messages in the room on display are read, and own ones too", () => {
  lobby.receives(message("seen"));
  news.receives(message("own", { own: true }));
  expect(unread.total).toBe(0);
  expect(unread.mark("lobby")).toBeNull();
});

test("in a hidden tab everything is unread until it is visible", () => {
  unread.setVisible(false);
  lobby.receives(message("one"));
  expect(unread.count("lobby")).toBe(1);
  unread.show("lobby");
  expect(unread.count("lobby")).toBe(1);
  unread.setVisible(true);
  expect(unread.count("lobby")).toBe(0);
});

test("the mark stays at the first unread message while the room is on display", () => {
  news.receives(message("one"));
  news.receives(message("two"));
  unread.show("news");
  news.receives(message("three"));
  expect(unread.mark("news")).toBe("one");
  unread.setVisible(false);
  unread.setVisible(true);
  expect(unread.mark("news")).toBe("one");
  unread.setVisible(false);
  news.receives(message("four"));
  expect(unread.mark("news")).toBe("four");
});

test("a room that is opened again without unread messages has no mark", () => {
  news.receives(message("one"));
  unread.show("news");
  unread.show("lobby");
  unread.show("news");
  expect(unread.mark("news")).toBeNull();
});

test("a room that was left is forgotten", () => {
  news.receives(message("one"));
  client.has(lobby);
  expect(unread.total).toBe(0);
  expect(news.listeners).toBe(0);
  client.has(lobby, new FakeRoom("news"));
  expect(unread.count("news")).toBe(0);
});

test("listeners hear of every change until it is closed", () => {
  const listener = vi.fn();
  unread.subscribe(listener);
  const before = unread.version;
  news.receives(message("one"));
  expect(listener).toHaveBeenCalledTimes(1);
  expect(unread.version).toBeGreaterThan(before);
  unread.close();
  expect(lobby.listeners + news.listeners).toBe(0);
});

test("the title says how many messages are unread", () => {
  expect(titleWith("Chat", 0)).toBe("Chat");
  expect(titleWith("Chat", 3)).toBe("(3) Chat");
});
