import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Refused } from "./accounts/http.js";
import { FakeServer } from "./accounts/testing.js";
import { check, login, logout, register, whoAmI } from "./sessions.js";

let server: FakeServer;

beforeEach(() => {
  server = new FakeServer();
  server.answers("auth/me", 200, { id: "1", username: "ada" });
  server.answers("auth/logout", 204);
});

afterEach(() => {
  vi.unstubAllGlobals();
});

it("the session is asked who the user is", async () => {
  await expect(whoAmI()).resolves.toEqual({ id: "1", name: "ada" });
  expect(server.requests[0]?.options.credentials).toBe("include");
  server.answers("auth/me", 401);
  await expect(whoAmI()).resolves.toBeNull();
  server.answers("auth/me", 503);
  await expect(whoAmI()).rejects.toThrow("HTTP 503");
});

it("a check asks for the user, and whether the page may connect", async () => {
  await expect(check()).resolves.toBe(true);
  // Without the cookie, so that nobody is logged out.
  expect(server.requests[1]).toMatchObject({
    path: "auth/logout",
    options: { credentials: "omit" },
  });
  server.answers("auth/logout", 403, { detail: "This origin is not allowed." });
  await expect(check()).rejects.toMatchObject({
    status: 403,
    message: "This origin is not allowed.",
  });
  server.answers("auth/me", 401);
  await expect(check()).resolves.toBe(false);
});

it("the forms are sent with the cookie, and refused with a sentence", async () => {
  server.answers("auth/register", 201, { id: "1", username: "ada" });
  server.answers("auth/login", 401, { detail: "Wrong name or password." });
  await register("ada", "secret");
  const wrong = login("ada", "guess");
  await expect(wrong).rejects.toThrow(Refused);
  await expect(wrong).rejects.toThrow("Wrong name or password.");
  await logout();
  const sent = server.requests.map(({ path, fields, options }) => [
    path,
    fields,
    options.credentials,
  ]);
  expect(sent).toEqual([
    ["auth/register", { username: "ada", password: "secret" }, "include"],
    ["auth/login", { username: "ada", password: "guess" }, "include"],
    ["auth/logout", {}, "include"],
  ]);
});

it("a refusal without a sentence says its status", async () => {
  server.answers("auth/login", 422, { detail: [{ msg: "too long" }] });
  await expect(login("ada", "x")).rejects.toThrow("The server refused with HTTP status 422.");
  server.answers("auth/login", 500);
  await expect(login("ada", "x")).rejects.not.toThrow(Refused);
});
