import { beforeEach, expect, it } from "vitest";
import { nextTick } from "vue";

import { MAX_TEXT } from "../chat/words.js";
import { find, mountWith, scripted } from "../testing/mount.js";
import MessageForm from "./MessageForm.vue";

let sent: string[];
let typed: string[];
let field: HTMLTextAreaElement;

beforeEach(() => {
  sent = [];
  typed = [];
  const wrapper = mountWith(scripted().plugin, MessageForm, {
    room: "lobby",
    modelValue: "",
    "onUpdate:modelValue": (modelValue: string) => wrapper.setProps({ modelValue }),
    onSend: (text: string) => sent.push(text),
    onTyped: (text: string) => typed.push(text),
  });
  field = find("#text") as HTMLTextAreaElement;
});

async function write(text: string) {
  field.value = text;
  field.dispatchEvent(new Event("input"));
  await nextTick();
}

async function press(options: KeyboardEventInit) {
  field.dispatchEvent(new KeyboardEvent("keydown", { cancelable: true, ...options }));
  await nextTick();
}

it("sends with Enter", async () => {
  await write("hello  ");
  await press({ key: "Enter" });
  expect(sent).toEqual(["hello"]);
  expect(typed).toEqual(["hello  "]);
});

it("does not send with Shift+Enter, nor while a word is being composed", async () => {
  await write("hello");
  await press({ key: "Enter", shiftKey: true });
  await press({ key: "Enter", isComposing: true });
  expect(sent).toEqual([]);
});

it("sends nothing that is empty or too long", async () => {
  await write(" \n ");
  await press({ key: "Enter" });
  await write("x".repeat(MAX_TEXT + 2));
  await press({ key: "Enter" });
  expect(sent).toEqual([]);
  expect(find("#counter").textContent).toContain("2 characters too many");
  expect(field.getAttribute("aria-invalid")).toBe("true");
  expect((find("#send") as HTMLButtonElement).disabled).toBe(true);
});

it("has the room in its name", () => {
  expect(find("label[for=text]").textContent).toBe("Message lobby");
});
