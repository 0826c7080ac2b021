// @vitest-environment jsdom

import { render } from "@testing-library/react";
import { expect, test } from "vitest";

import { around, byId, happens, newClient, preparePage } from "../../testing.js";
import { Gate } from "./none.js";

preparePage();

test("the page connects by itself", async () => {
  const { client, server } = newClient();
  render(<Gate />, { wrapper: around(client) });
  await happens(() => undefined);
  expect(server.connections).toBeGreaterThan(0);
  await happens(() => {
    server.accept();
  });
  expect(byId("chat").hidden).toBe(false);
  expect(byId("user").textContent).toBe("ada");
});
