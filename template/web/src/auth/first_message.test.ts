import { afterEach, expect, it, vi } from "vitest";
import { FakeServer } from "./accounts/testing.js";
import { credentials, login } from "./first_message.js";
import { fakeDatabase } from "./tokens.testing.js";

afterEach(() => {
  vi.unstubAllGlobals();
});

it("the first message carries the access token", async () => {
  vi.stubGlobal("navigator", {});
  fakeDatabase();
  await expect(credentials.handshake()).resolves.toBeNull();
  const tokens = { access_token: "access", refresh_token: "refresh", expires_in: 100 };
  new FakeServer().answers("auth/login", 200, tokens);
  await login("ada", "secret");
  const handshake = await credentials.handshake();
  expect(handshake).toMatchObject({ firstFrame: { type: "auth", token: "access" } });
  handshake?.whileOpen?.(() => undefined)();
});
