import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { FakeServer } from "./accounts/testing.js";
import { credentials } from "./ticket.js";

let server: FakeServer;

beforeEach(() => {
  server = new FakeServer();
});

afterEach(() => {
  vi.unstubAllGlobals();
});

it("each handshake has a ticket of its own", async () => {
  for (const ticket of ["one", "two"]) {
    server.answers("auth/ticket", 200, { ticket, expires_in: 30 });
    await expect(credentials.handshake()).resolves.toEqual({ query: { ticket } });
  }
  expect(server.requests[0]?.options.credentials).toBe("include");
});

it("without a session there is no ticket", async () => {
  server.answers("auth/ticket", 401, { detail: "Log in first." });
  await expect(credentials.handshake()).resolves.toBeNull();
  server.answers("auth/ticket", 403, { detail: "This origin is not allowed." });
  await expect(credentials.handshake()).rejects.toMatchObject({ status: 403 });
  server.answers("auth/ticket", 0);
  await expect(credentials.handshake()).rejects.toThrow("fetch failed");
});
