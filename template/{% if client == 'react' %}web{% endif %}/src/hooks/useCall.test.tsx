// @vitest-environment jsdom

import { renderHook } from "@testing-library/react";
import { expect, test } from "vitest";

import type { ClientMessage } from "../realtime/protocol.js";
import { around, happens, newClient, preparePage } from "../testing.js";
import { useCall } from "./index.js";

preparePage();

interface Doubling {
  isPending: boolean;
  result: unknown;
  error: Error | undefined;
  call: (data: unknown) => Promise<unknown>;
}

async function open() {
  const { client, server } = newClient();
  // The application may have no such call.
  const { result: hook, unmount } = renderHook(
    () => useCall("double" as never) as unknown as Doubling,
    { wrapper: around(client) },
  );
  await happens(() => void client.connect());
  await happens(() => {
    server.accept();
  });
  return { server, hook, unmount };
}

function idOf(message: ClientMessage | undefined): string {
  if (message?.type !== "call") throw new Error("That is no call.");
  return message.id;
}

test("a component calls the server, and shows the result", async () => {
  const { server, hook } = await open();
  let answer: Promise<unknown> = Promise.resolve();
  await happens(() => {
    answer = hook.current.call({ number: 2 });
  });
  expect(hook.current).toMatchObject({ isPending: true, result: undefined });
  const [message] = server.heard();
  expect(message).toMatchObject({ event: "double", data: { number: 2 } });
  const result = { event: "doubled", data: { number: 4 } };
  await happens(() => {
    server.says({ type: "result", id: idOf(message), ...result });
  });
  expect(hook.current).toMatchObject({ isPending: false, result, error: undefined });
  expect(await answer).toEqual(result);
});

test("what the server refuses is an error, until the next call", async () => {
  const { server, hook } = await open();
  let answer: Promise<unknown> = Promise.resolve();
  await happens(() => {
    answer = hook.current.call({ number: 2 });
    answer.catch(() => undefined);
  });
  const id = idOf(server.heard()[0]);
  await happens(() => {
    server.error("refused", id, "not today", null);
  });
  expect(hook.current).toMatchObject({ isPending: false, result: undefined });
  expect(hook.current.error?.message).toBe("Not today.");
  await expect(answer).rejects.toThrow("Not today.");
  await happens(() => {
    hook.current.call({ number: 3 }).catch(() => undefined);
  });
  expect(hook.current).toMatchObject({ isPending: true, error: undefined });
});

test("the answer to an earlier call is dropped, and a component that is gone asks no more", async () => {
  const { server, hook, unmount } = await open();
  const failed: unknown[] = [];
  await happens(() => {
    hook.current.call({ number: 1 }).catch((error: unknown) => failed.push(error));
    hook.current.call({ number: 2 }).catch((error: unknown) => failed.push(error));
  });
  expect(failed).toHaveLength(1);
  expect(hook.current).toMatchObject({ isPending: true, error: undefined });
  const calls = server.heard();
  const result = { event: "doubled", data: { number: 4 } };
  await happens(() => {
    server.says({ type: "result", id: idOf(calls.at(-1)), ...result });
  });
  expect(hook.current.result).toEqual(result);
  await happens(() => {
    hook.current.call({ number: 3 }).catch((error: unknown) => failed.push(error));
  });
  unmount();
  await happens(() => undefined);
  expect(failed).toHaveLength(2);
});
