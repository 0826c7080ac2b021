import { beforeEach, expect, test } from "vitest";
import { Shown, useFakeClient, type FakeClient } from "../testing.js";
import { App } from "./none.js";

let client: FakeClient;
let page: Shown<App>;

beforeEach(async () => {
  client = useFakeClient();
  page = await Shown.create(App);
});

test("the page connects at once", () => {
  expect(client.connects).toBe(1);
  expect(page.texts("#room-title")).toEqual(["lobby"]);
});

test("the first button leads to the message field", async () => {
  page.$("#log").focus();
  await page.click("#skip");
  expect(document.activeElement?.id).toBe("text");
});
