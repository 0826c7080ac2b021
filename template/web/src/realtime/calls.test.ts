import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Client, Disconnected, ServerError } from "./index.js";
import {
  ADA,
  ScriptedServer,
  URL_OF_SERVER,
  connecting,
  credentials,
  type Chat,
} from "./testing.js";

let server: ScriptedServer;
let client: Client<Chat>;

beforeEach(async () => {
  vi.useFakeTimers();
  server = new ScriptedServer();
  client = await connecting();
  server.accept(ADA, 0);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** The id of the call that the server hears. */
function heard(number: number): string {
  const [message, ...others] = server.heard();
  expect(others).toEqual([]);
  expect(message).toMatchObject({ type: "call", event: "double", data: { number } });
  return message && "id" in message ? message.id : "";
}

it("a call has a result", async () => {
  const [one, two] = [client.call("double", { number: 1 }), client.call("double", { number: 2 })];
  const ids = server.heard().map((message) => ("id" in message ? message.id : ""));
  server.says({ type: "result", id: ids[1] ?? "", event: "doubled", data: { number: 4 } });
  server.says({ type: "result", id: ids[0] ?? "" });
  server.says({ type: "result", id: "unknown" });
  await expect(two).resolves.toEqual({ event: "doubled", data: { number: 4 } });
  await expect(one).resolves.toBeNull();
});

it("a call may be refused", async () => {
  const call = client.call("double", { number: 1 });
  server.error("refused", heard(1), "not on Sundays", null);
  await expect(call).rejects.toThrow(ServerError);
  await expect(call).rejects.toMatchObject({
    code: "refused",
    detail: "not on Sundays",
    message: "Not on Sundays.",
  });
});

it("a call is not sent twice, because nobody knows what became of the first one", async () => {
  const call = client.call("double", { number: 1 });
  server.close(1012);
  await expect(call).rejects.toThrow(Disconnected);
  await vi.advanceTimersByTimeAsync(1_000);
  server.accept(ADA, 0);
  expect(server.heard()).toEqual([]);
});

it("a call above the rate limit is sent again: the server did not carry it out", async () => {
  const call = client.call("double", { number: 1 });
  const id = heard(1);
  server.error("rate_limited", id, "slow down", null);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(heard(1)).toBe(id);
  server.says({ type: "result", id });
  await expect(call).resolves.toBeNull();
});

it("a call needs a connection, or one that is about to be", async () => {
  const other = new Client<Chat>(credentials, { url: URL_OF_SERVER });
  await expect(other.call("double", { number: 1 })).rejects.toThrow(Disconnected);
  void other.connect();
  const call = other.call("double", { number: 2 });
  await vi.advanceTimersByTimeAsync(0);
  server.accept(ADA, 0);
  server.says({ type: "result", id: heard(2) });
  await expect(call).resolves.toBeNull();
});

it("a call can be given up", async () => {
  const controller = new AbortController();
  const call = client.call("double", { number: 1 }, { signal: controller.signal });
  const id = heard(1);
  controller.abort(new Error("too late"));
  await expect(call).rejects.toThrow("too late");
  server.says({ type: "result", id });
  const another = client.call("double", { number: 2 }, { signal: controller.signal });
  await expect(another).rejects.toThrow("too late");
  expect(server.heard()).toEqual([]);
});

it("at most 1,000 calls wait", async () => {
  for (let number = 0; number < 1_000; number += 1) {
    client.call("double", { number }).catch(() => undefined);
  }
  await expect(client.call("double", { number: 0 })).rejects.toThrow(RangeError);
});
