import { expect, it } from "vitest";

import { mountWith, scripted, settle } from "../../testing/mount.js";
import { mayGoOnAs, PageEntrance } from "./none.js";

it("lets everybody in, and connects", async () => {
  const { client, plugin } = scripted();
  const entrance = mountWith(plugin, PageEntrance, { modelValue: false });
  await settle();
  expect(entrance.emitted("update:modelValue")).toEqual([[true]]);
  expect(client.status.state).toBe("connecting");
  expect(mayGoOnAs()).toBe(true);
});
