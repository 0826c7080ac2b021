import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { FakeServer } from "./accounts/testing.js";
import { check, freshTokens, keepFresh, login, logout, whoAmI } from "./tokens.js";
import { fakeDatabase } from "./tokens.testing.js";

let server: FakeServer;
let records: Map<string, unknown>;

beforeEach(async () => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0);
  // Without Web Locks, as on an origin that is not secure.
  vi.stubGlobal("navigator", {});
  records = fakeDatabase();
  server = new FakeServer();
  server.answers("auth/login", 200, pair(1));
  server.answers("auth/refresh", 200, pair(2));
  server.answers("auth/me", 200, { id: "1", username: "ada" });
  server.answers("auth/logout", 204);
  await login("ada", "secret");
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** Tokens that are valid for 100 seconds. */
function pair(number: number): object {
  return { access_token: `access ${number}`, refresh_token: `refresh ${number}`, expires_in: 100 };
}

it("an access token is used until it is nearly too old", async () => {
  await vi.advanceTimersByTimeAsync(79_000);
  await expect(freshTokens()).resolves.toMatchObject({ access_token: "access 1" });
  await vi.advanceTimersByTimeAsync(1_000);
  await expect(freshTokens()).resolves.toMatchObject({ access_token: "access 2" });
  expect(server.asked("auth/refresh")).toEqual([{ refresh_token: "refresh 1" }]);
});

it("a session that is over is forgotten", async () => {
  server.answers("auth/refresh", 401, { detail: "The session is over." });
  await vi.advanceTimersByTimeAsync(80_000);
  await expect(freshTokens()).resolves.toBeNull();
  expect(records.size).toBe(0);
  await expect(whoAmI()).resolves.toBeNull();
  await expect(check()).resolves.toBe(false);
});

it("a session is not forgotten because the server can't be reached", async () => {
  server.answers("auth/refresh", 0);
  await vi.advanceTimersByTimeAsync(80_000);
  await expect(freshTokens()).rejects.toThrow("fetch failed");
  expect(records.size).toBe(1);
});

it("a token that the server refuses is exchanged once", async () => {
  server.answers("auth/me", 401);
  await expect(whoAmI()).resolves.toBeNull();
  const headers = server.requests.filter(({ path }) => path === "auth/me");
  expect(headers.map(({ options }) => options.headers)).toEqual([
    { Authorization: "Bearer access 1" },
    { Authorization: "Bearer access 2" },
  ]);
});

it("a socket gets a fresh token in time, until it is gone", async () => {
  const tokens = await freshTokens();
  if (tokens === null) throw new Error("There is no session.");
  const sent: object[] = [];
  const stop = keepFresh(tokens, (message) => sent.push(message));
  await vi.advanceTimersByTimeAsync(79_900);
  expect(sent).toEqual([]);
  server.answers("auth/refresh", 503);
  await vi.advanceTimersByTimeAsync(200);
  server.answers("auth/refresh", 200, pair(2));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(sent).toEqual([{ type: "refresh", token: "access 2" }]);
  stop();
  await vi.advanceTimersByTimeAsync(200_000);
  expect(sent).toHaveLength(1);
});

it("who logs out is forgotten", async () => {
  await logout();
  expect(server.asked("auth/logout")).toEqual([{ refresh_token: "refresh 1" }]);
  expect(records.size).toBe(0);
});
