// @vitest-environment jsdom

import { render, renderHook, screen } from "@testing-library/react";
import { expect, test, vi } from "vitest";

import { textOf } from "../chat/words.js";
import type { Application } from "../events.js";
import type { Client } from "../realtime/index.js";
import type { ScriptedServer } from "../realtime/testing.js";
import { around, happens, newClient, preparePage } from "../testing.js";
import { useConnection, usePresence, useRoom } from "./index.js";

preparePage();

function Texts({ name }: { name: string }) {
  const { entries } = useRoom(name);
  return (
    <ul>
      {entries.map((entry) => (
        <li key={entry.key}>{entry.kind === "message" ? textOf(entry) : entry.text}</li>
      ))}
    </ul>
  );
}

async function connect(client: Client<Application>, server: ScriptedServer): Promise<void> {
  await happens(() => void client.connect());
  await happens(() => {
    server.accept();
  });
}

test("a component follows the connection", async () => {
  function Status() {
    const { status, user, unsent } = useConnection();
    return <p>{`${status.state} ${user?.name ?? "nobody"} ${unsent}`}</p>;
  }
  const { client, server } = newClient();
  render(<Status />, { wrapper: around(client) });
  screen.getByText("idle nobody 0");
  await happens(() => void client.connect());
  screen.getByText("connecting nobody 0");
  await happens(() => {
    server.accept();
    client.enter("lobby").publish("chat.message", { text: "hello" });
  });
  screen.getByText("open ada 1");
});

test("a component enters its room once, and shows what is said there", async () => {
  const { client, server } = newClient();
  render(<Texts name="lobby" />, { wrapper: around(client) });
  await connect(client, server);
  expect(server.heard()).toEqual([{ type: "join", room: "lobby" }]);
  await happens(() => {
    server.joined(0);
    server.message(1, "hello");
  });
  screen.getByText("hello");
  await happens(() => {
    client.rooms.get("lobby")?.publish("chat.message", { text: "hello to you" });
  });
  screen.getByText("hello to you");
  expect(server.heard()).toMatchObject([{ type: "publish", data: { text: "hello to you" } }]);
});

test("the room is left when the last component that uses it is gone", async () => {
  const { client, server } = newClient();
  const { rerender } = render(
    <>
      <Texts key="one" name="lobby" />
      <Texts key="two" name="lobby" />
    </>,
    { wrapper: around(client) },
  );
  await connect(client, server);
  await happens(() => {
    server.joined(0);
  });
  server.heard();
  await happens(() => {
    rerender(<Texts key="two" name="lobby" />);
  });
  expect(server.heard()).toEqual([]);
  await happens(() => {
    rerender(null);
  });
  expect(server.heard()).toEqual([{ type: "leave", room: "lobby" }]);
  expect(client.rooms.size).toBe(0);
});

test("another name is another room", async () => {
  const { client } = newClient();
  const { rerender, result } = renderHook((name: string) => useRoom(name), {
    initialProps: "lobby",
    wrapper: around(client),
  });
  await happens(() => {
    rerender("news");
  });
  expect([...client.rooms.keys()]).toEqual(["news"]);
  expect(result.current.name).toBe("news");
});

test("a room can be kept", async () => {
  const { client } = newClient();
  const { unmount } = renderHook(() => useRoom("lobby", { keep: true }), {
    wrapper: around(client),
  });
  unmount();
  await happens(() => undefined);
  expect([...client.rooms.keys()]).toEqual(["lobby"]);
});

test("the functions of a room stay the same, and what has changed is new", async () => {
  const { client, server } = newClient();
  const { result } = renderHook(() => useRoom("lobby"), { wrapper: around(client) });
  const before = result.current;
  await connect(client, server);
  await happens(() => {
    server.joined(0);
  });
  expect(result.current).not.toBe(before);
  expect(result.current.publish).toBe(before.publish);
  expect(before.state).toBe("outside");
  expect(result.current.state).toBe("inside");
});

test("a component knows who is present", async () => {
  function Members() {
    const { members, memberCount } = usePresence("lobby");
    const names = [...(members?.values() ?? [])].map(({ name }) => name);
    return <p>{`${memberCount}: ${names.join(", ")}`}</p>;
  }
  const { client, server } = newClient();
  render(<Members />, { wrapper: around(client) });
  screen.getByText("0:");
  await connect(client, server);
  await happens(() => {
    server.joined(0);
  });
  screen.getByText("2: ada, bob");
  await happens(() => {
    const user = { id: "id-of-bob", name: "bob" };
    server.says({ type: "presence", room: "lobby", user, event: "leave" });
  });
  screen.getByText("1: ada");
});

test("the connection ends with the provider", async () => {
  const { client, server } = newClient();
  const { unmount } = render(<Texts name="lobby" />, { wrapper: around(client) });
  await connect(client, server);
  unmount();
  expect(server.socket.isClosed).toBe(true);
});

test("a hook without a provider says what is missing", () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  expect(() => render(<Texts name="lobby" />)).toThrow("There is no <RealtimeProvider>");
});
