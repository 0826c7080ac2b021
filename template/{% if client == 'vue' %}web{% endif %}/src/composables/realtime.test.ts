import { beforeEach, describe, expect, it } from "vitest";
import { shallowRef } from "vue";
import type { Plugin } from "vue";

import type { Application } from "../events.js";
import type { ScriptedServer } from "../realtime/testing.js";
import { ADA, BOB, texts } from "../realtime/testing.js";
import { compose, scripted, settle } from "../testing/mount.js";
import { useCall, useConnection, usePresence, useRoom } from "./realtime.js";
import type { AppClient } from "./realtime.js";

let client: AppClient;
let server: ScriptedServer;
let plugin: Plugin;

beforeEach(() => {
  ({ client, server, plugin } = scripted());
});

async function connect() {
  void client.connect();
  await settle();
  server.accept();
  await settle();
}

/** What the client has sent, as "type room". */
function heard(): string[] {
  return server
    .heard()
    .map((message) => `${message.type} ${"room" in message ? message.room : ""}`);
}

describe("useConnection", () => {
  it("follows the connection", async () => {
    const { made } = compose(plugin, useConnection);
    expect(made.status.value.state).toBe("idle");
    expect(made.user.value).toBeNull();
    await connect();
    expect(made.status.value.state).toBe("open");
    expect(made.user.value).toEqual(ADA);
    client.enter("lobby").publish("chat.message", { text: "hello" });
    await settle();
    expect([...made.rooms.value.keys()]).toEqual(["lobby"]);
    expect(made.unsent.value).toBe(1);
    made.close();
    await settle();
    expect(made.status.value.state).not.toBe("open");
  });

  it("says what is missing in an app without a client", () => {
    const nothing = { install: () => undefined };
    expect(() => compose(nothing, useConnection)).toThrow("withClient(client)");
  });
});

describe("useRoom", () => {
  it("follows the log of a room", async () => {
    await connect();
    const { made } = compose(plugin, () => useRoom("lobby"));
    expect(texts(made.entries.value)).toEqual([]);
    await settle();
    expect(made.state.value).toBe("joining");
    server.joined(1);
    server.message(1, "one");
    await settle();
    expect(made.state.value).toBe("inside");
    expect(made.isKnown.value).toBe(true);
    server.message(2, "two");
    await settle();
    expect(texts(made.entries.value)).toEqual(["one", "two"]);
  });

  it("publishes and sends signals", async () => {
    await connect();
    const { made } = compose(plugin, () => useRoom("lobby"));
    await settle();
    server.joined(0);
    heard();
    made.publish("chat.message", { text: "hello" });
    made.signal("chat.typing", {});
    await settle();
    expect(heard()).toEqual(["publish lobby", "signal lobby"]);
    expect(texts(made.entries.value)).toEqual(["hello"]);
  });

  it("follows its name, and leaves the room that nobody uses any more", async () => {
    await connect();
    const name = shallowRef("lobby");
    const { made } = compose(plugin, () => useRoom(name));
    await settle();
    server.joined(0);
    name.value = "garden";
    expect(made.room.value.name).toBe("garden");
    expect(made.entries.value).toEqual([]);
    await settle();
    expect([...client.rooms.keys()]).toEqual(["garden"]);
    server.joined(0, { room: "garden" });
    server.message(1, "in the garden", { room: "garden" });
    await settle();
    expect(texts(made.entries.value)).toEqual(["in the garden"]);
  });

  it("leaves a room with the last component that uses it", async () => {
    const one = compose(plugin, () => useRoom("lobby"));
    const other = compose(plugin, () => usePresence("lobby"));
    one.unmount();
    await settle();
    expect(client.rooms.has("lobby")).toBe(true);
    other.unmount();
    const next = compose(plugin, () => useRoom("lobby"));
    await settle();
    expect(client.rooms.has("lobby")).toBe(true);
    next.unmount();
    await settle();
    expect(client.rooms.has("lobby")).toBe(false);
  });

  it("does not leave a room that the client was in before", async () => {
    client.enter("lobby");
    compose(plugin, () => useRoom("lobby")).unmount();
    await settle();
    expect(client.rooms.has("lobby")).toBe(true);
  });

  it("is not told of changes when the component is gone", async () => {
    const room = client.enter("lobby");
    const { made, unmount } = compose(plugin, () => useRoom("lobby"));
    unmount();
    const before = made.entries.value;
    room.notice("nobody listens");
    await settle();
    expect(made.entries.value).toBe(before);
  });
});

describe("usePresence", () => {
  it("says who is in a room", async () => {
    await connect();
    const { made } = compose(plugin, () => usePresence("lobby"));
    expect(made.memberCount.value).toBe(0);
    await settle();
    server.joined(0);
    await settle();
    expect([...(made.members.value?.values() ?? [])]).toEqual([ADA, BOB]);
    server.says({ type: "presence", room: "lobby", user: BOB, event: "leave" });
    await settle();
    expect(made.memberCount.value).toBe(1);
  });
});

describe("useCall", () => {
  // Not one of the application's own calls, so that it does not matter which ones it has.
  const double = () => useCall("double" as never);
  const id = () => server.heard().map((message) => ("id" in message ? message.id : ""))[0] ?? "";

  it("has the result", async () => {
    await connect();
    const { made } = compose(plugin, double);
    const call = made.call({ number: 2 } as never);
    expect(made.isPending.value).toBe(true);
    server.says({ type: "result", id: id(), event: "doubled", data: { number: 4 } });
    await call;
    expect(made.result.value).toEqual({ event: "doubled", data: { number: 4 } });
    expect(made.isPending.value).toBe(false);
  });

  it("has the error", async () => {
    await connect();
    const { made } = compose(plugin, double);
    const call = made.call({} as never);
    server.error("refused", id(), "not on Sundays", null);
    await call;
    expect(made.error.value).toMatchObject({ code: "refused", message: "Not on Sundays." });
    expect(made.isPending.value).toBe(false);
  });

  it("has the answer to the newest call only", async () => {
    await connect();
    const { made } = compose(plugin, double);
    const first = made.call({ number: 1 } as never);
    const firstId = id();
    const second = made.call({ number: 2 } as never);
    server.says({ type: "result", id: id(), event: "doubled", data: { number: 4 } });
    server.says({ type: "result", id: firstId, event: "doubled", data: { number: 2 } });
    await Promise.all([first, second]);
    expect(made.result.value).toMatchObject({ data: { number: 4 } });
    expect(made.error.value).toBeUndefined();
  });

  it("awaits no answer when the component is gone", async () => {
    await connect();
    const { made, unmount } = compose(plugin, double);
    const call = made.call({} as never);
    unmount();
    await call;
    expect(made.error.value).toBeUndefined();
  });
});

describe("the types of the application", () => {
  type Room = ReturnType<typeof useRoom>;

  it("make a wrong event an error of the compiler", () => {
    const wrong = [
      // @ts-expect-error: there is no such event.
      (room: Room) => room.publish("chat.mesage", { text: "" }),
      // @ts-expect-error: the event has no such field.
      (room: Room) => room.publish("chat.message", { txt: "" }),
      // @ts-expect-error: the field is a string.
      (room: Room) => room.publish("chat.message", { text: 1 }),
      // @ts-expect-error: a message is not a signal.
      (room: Room) => room.signal("chat.message", { text: "" }),
      // @ts-expect-error: there is no such call.
      () => useCall("no.such.call"),
    ];
    const right: ((room: Room) => unknown)[] = [
      (room) =>
        room.publish("chat.message", {
          text: "",
        } satisfies Application["publishes"]["chat.message"]),
      (room) => room.signal("chat.typing", {}),
    ];
    expect([...wrong, ...right]).toHaveLength(7);
  });
});
