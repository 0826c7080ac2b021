import { TestBed } from "@angular/core/testing";
import { beforeEach, expect, test } from "vitest";
import { Realtime } from "./realtime.js";
import { message, useFakeClient, type FakeClient } from "./testing.js";

let client: FakeClient;
let realtime: Realtime;

beforeEach(() => {
  client = useFakeClient();
  realtime = TestBed.inject(Realtime);
});

test("signals follow the client", () => {
  expect(realtime.connection().state).toBe("open");
  client.becomes({ state: "waiting", reason: "The connection was lost." });
  expect(realtime.connection().reason).toBe("The connection was lost.");
  client.unsent = 2;
  client.changes();
  expect(realtime.unsent()).toBe(2);
});

test("signals follow a room", () => {
  const lobby = realtime.room("lobby");
  expect([...realtime.rooms().keys()]).toEqual(["lobby"]);
  client.in("lobby").has(message("Hello"));
  expect(lobby.entries()).toHaveLength(1);
  expect(lobby.members()?.size).toBe(2);
});

test("the same name gives the same room, until it is left", () => {
  const lobby = realtime.room("lobby");
  expect(realtime.room("lobby")).toBe(lobby);
  realtime.leave("lobby");
  expect(realtime.room("lobby")).not.toBe(lobby);
});

test("events are those of the application, with their fields", () => {
  const lobby = realtime.room("lobby");
  lobby.publish("chat.message", { text: "Hello" });
  // The compiler refuses each of these.
  // @ts-expect-error: the field has another name
  lobby.publish("chat.message", { words: "Hello" });
  // @ts-expect-error: the field has another type
  lobby.publish("chat.message", { text: 1 });
  // @ts-expect-error: there is no such event
  lobby.publish("chat.massage", { text: "Hello" });
  // @ts-expect-error: this is not sent as a signal
  lobby.signal("chat.message", { text: "Hello" });
  expect(client.in("lobby").calls[0]).toBe("chat.message Hello");
});
