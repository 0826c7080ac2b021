import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { credentials } from "./none.js";
import { setServer } from "./server.js";

const fetched = vi.fn<typeof fetch>();

beforeEach(() => {
  setServer("https://server.test/app/");
  vi.stubGlobal("fetch", fetched);
});

afterEach(() => {
  vi.unstubAllGlobals();
  fetched.mockReset();
});

it("a guest needs nothing but a server that answers", async () => {
  fetched.mockResolvedValue(new Response());
  await expect(credentials.handshake()).resolves.toEqual({});
  await expect(credentials.check()).resolves.toBe(true);
  expect(fetched.mock.lastCall?.[0]).toEqual(new URL("https://server.test/app/healthz"));
});

it("a page of another origin can't read the answer", async () => {
  fetched.mockResolvedValue({ ok: false, type: "opaque" } as Response);
  await expect(credentials.check()).resolves.toBe(true);
});

it("a server that is not ready can't be asked", async () => {
  fetched.mockResolvedValue(new Response("", { status: 503 }));
  await expect(credentials.check()).rejects.toThrow("HTTP 503");
  fetched.mockRejectedValue(new TypeError("fetch failed"));
  await expect(credentials.check()).rejects.toThrow("fetch failed");
});
