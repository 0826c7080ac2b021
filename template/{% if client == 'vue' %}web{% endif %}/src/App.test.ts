import { beforeEach, expect, it, vi } from "vitest";
import { defineComponent } from "vue";

import type { AppClient } from "./composables/realtime.js";
import type { ScriptedServer } from "./realtime/testing.js";
import { BOB } from "./realtime/testing.js";
import { find, mountWith, scripted, settle, textsOf } from "./testing/mount.js";
import App from "./App.vue";

vi.mock("./components/auth/index.js", () => ({
  PageEntrance: defineComponent({
    props: { modelValue: { type: Boolean, required: true } },
    emits: ["update:modelValue"],
    setup(_, { emit }) {
      emit("update:modelValue", true);
      return () => null;
    },
  }),
}));

let client: AppClient;
let server: ScriptedServer;

beforeEach(async () => {
  const { client: scriptedClient, server: scriptedServer, plugin } = scripted();
  client = scriptedClient;
  server = scriptedServer;
  mountWith(plugin, App);
  void client.connect();
  await settle();
  server.accept();
  server.joined(0);
  await settle();
});

async function goTo(hash: string) {
  location.hash = hash;
  dispatchEvent(new HashChangeEvent("hashchange"));
  await settle();
}

it("shows who is there, and the state of the connection in words", async () => {
  expect(find("#connection").textContent).toBe("Connected");
  expect(find("#user").textContent).toBe("ada");
  expect(textsOf("#members li")).toEqual(["ada (you)", "bob"]);
  expect(textsOf(".member-count")).toEqual(["2", "2"]);
  server.close(1012);
  await settle();
  expect(find("#connection").dataset.state).toBe("waiting");
  expect(find("#trouble-text").textContent).toBe("The server is restarting.");
  expect(find("#countdown").textContent).toMatch(/^Next attempt in \d+ s\.$/);
  expect(find("#reconnect").hidden).toBe(false);
});

it("sends a message to the room on display", async () => {
  const field = find("#text") as HTMLTextAreaElement;
  server.heard();
  field.value = "hello";
  field.dispatchEvent(new Event("input"));
  await settle();
  find("#send").click();
  await settle();
  expect(server.heard()).toContainEqual(
    expect.objectContaining({ type: "publish", room: "lobby", data: { text: "hello" } }),
  );
  expect(field.value).toBe("");
  expect(window.onbeforeunload).not.toBeNull();
});

it("enters the room of the address, and keeps what was written in the other", async () => {
  const field = find("#text") as HTMLTextAreaElement;
  field.value = "half a";
  field.dispatchEvent(new Event("input"));
  await goTo("#garden");
  expect(find("#room-title").textContent).toBe("garden");
  expect(field.value).toBe("");
  expect(textsOf("#rooms .name")).toEqual(["lobby", "garden"]);
  expect(find("[aria-current=page]").textContent).toContain("garden");
  await goTo("#lobby");
  expect(field.value).toBe("half a");
});

it("says when there is no such room", async () => {
  await goTo("#no%20room");
  expect(find("#room-title").textContent).toBe("lobby");
  expect(find(".notice").textContent).toContain("“no room”");
});

it("goes to a room by its name, and says what is wrong with one", async () => {
  const field = find("#room-name") as HTMLInputElement;
  const go = async (name: string) => {
    field.value = name;
    field.dispatchEvent(new Event("input"));
    find("#room-form").dispatchEvent(new Event("submit"));
    await settle();
  };
  await go("no room");
  expect(find("#room-error").textContent).toContain("A room's name is");
  expect(field.getAttribute("aria-invalid")).toBe("true");
  await go("garden");
  expect(location.hash).toBe("#garden");
  expect(find("#room-error").textContent).toBe("");
});

it("counts what is unread elsewhere, and marks it", async () => {
  await goTo("#garden");
  server.message(1, "are you there?");
  await settle();
  expect(find("[data-room=lobby] .badge").textContent).toMatch(/1\s+unread/);
  expect(find("#unread-elsewhere").hidden).toBe(false);
  expect(document.title).toMatch(/^\(1\)/);
  await goTo("#lobby");
  expect(find(".unread").textContent).toBe("New messages");
  expect(find("[data-room=lobby] .badge").hidden).toBe(true);
  expect(document.title).not.toContain("(1)");
});

it("shows who is typing, until the message is there", async () => {
  server.says({ type: "signal", room: "lobby", event: "chat.typing", data: {}, sender: BOB });
  await settle();
  expect(find("#typing").textContent).toBe("bob is typing…");
  server.message(1, "done");
  await settle();
  expect(find("#typing").textContent).toBe("");
});

it("leaves a room, and shows another one", async () => {
  await goTo("#garden");
  find("[data-room=garden] .leave").click();
  await settle();
  expect(location.hash).toBe("#lobby");
  expect([...client.rooms.keys()]).toEqual(["lobby"]);
  expect(find("[data-room=lobby] .leave").hidden).toBe(true);
});

it("remembers its rooms for a reload", async () => {
  await goTo("#garden");
  expect(JSON.parse(sessionStorage.getItem("rooms") ?? "")).toEqual(["lobby", "garden"]);
});
