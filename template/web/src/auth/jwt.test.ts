import { afterEach, expect, it, vi } from "vitest";
import { FakeServer } from "./accounts/testing.js";
import { credentials, login } from "./jwt.js";
import { fakeDatabase } from "./tokens.testing.js";

afterEach(() => {
  vi.unstubAllGlobals();
});

it("the handshake carries the access token among the subprotocols", async () => {
  vi.stubGlobal("navigator", {});
  fakeDatabase();
  await expect(credentials.handshake()).resolves.toBeNull();
  const tokens = { access_token: "access", refresh_token: "refresh", expires_in: 100 };
  new FakeServer().answers("auth/login", 200, tokens);
  await login("ada", "secret");
  const handshake = await credentials.handshake();
  expect(handshake).toMatchObject({ protocols: ["bearer.access"] });
  handshake?.whileOpen?.(() => undefined)();
});
