import { ChangeDetectionStrategy, Component } from "@angular/core";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Header } from "./header.js";
import { Shown, useFakeClient, type FakeClient } from "./testing.js";
import { Trouble } from "./trouble.js";

@Component({
  selector: "app-example",
  imports: [Header, Trouble],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <header app-header></header>
    <div id="trouble" app-trouble></div>
  `,
})
class Example {}

let client: FakeClient;
let page: Shown<Example>;

beforeEach(async () => {
  client = useFakeClient();
  page = await Shown.create(Example);
});

afterEach(() => {
  vi.useRealTimers();
});

test("the header has the name of the application, the connection and the user", () => {
  expect(page.texts("h1")).toEqual(["Example"]);
  expect(page.texts("#connection")).toEqual(["Connected"]);
  expect(page.$("#connection").dataset["state"]).toBe("open");
  expect(page.texts("#user")).toEqual(["ada"]);
  expect(page.$("#trouble-text").textContent).toBe("");
});

test("an expired user is not named", async () => {
  client.becomes({ state: "expired" });
  await page.update();
  expect(page.texts("#user")).toEqual([""]);
});

test("a lost connection is explained, with a countdown and a button", () => {
  vi.useFakeTimers({ now: 0 });
  client.becomes({ state: "waiting", reason: "The connection was lost.", retryAt: 3000 });
  page.fixture.detectChanges();
  expect(page.texts("#trouble-text")).toEqual(["The connection was lost."]);
  expect(page.texts("#countdown")).toEqual(["Next attempt in 3 s."]);
  vi.advanceTimersByTime(1000);
  page.fixture.detectChanges();
  expect(page.texts("#countdown")).toEqual(["Next attempt in 2 s."]);
  page.$("#reconnect").click();
  expect(client.connects).toBe(1);
  client.becomes({ state: "open", reason: "", retryAt: null });
  page.fixture.detectChanges();
  vi.runOnlyPendingTimers();
  expect(vi.getTimerCount()).toBe(0);
});

test("the reason stays while the next attempt is made", async () => {
  client.becomes({ state: "waiting", reason: "The connection was lost.", retryAt: 3000 });
  await page.update();
  client.becomes({ state: "connecting", reason: "", retryAt: null });
  await page.update();
  expect(page.texts("#connection")).toEqual(["Reconnecting…"]);
  expect(page.texts("#trouble-text")).toEqual(["The connection was lost."]);
  expect(page.texts("#countdown")).toEqual(["Trying…"]);
  client.becomes({ state: "open" });
  await page.update();
  expect(page.texts("#trouble-text, #countdown")).toEqual(["", ""]);
  expect(page.has("#reconnect")).toBe(false);
});
