// What must not compile: `npm run build` fails when one of these lines becomes right.

import { expectTypeOf, test } from "vitest";

import type { ChatMessage } from "../events.js";
import { useCall, useRoom, type RoomView } from "./index.js";

test("events are those of the application, with their fields", () => {
  function Component() {
    const { publish, signal } = useRoom("lobby");
    publish("chat.message", { text: "hello" });
    signal("chat.typing", {});
    // @ts-expect-error There is no such event.
    publish("chat.mesage", { text: "hello" });
    // @ts-expect-error It has no such field.
    publish("chat.message", { txt: "hello" });
    // @ts-expect-error The field has another type.
    publish("chat.message", { text: 7 });
    // @ts-expect-error A signal is not published.
    publish("chat.typing", {});
    // @ts-expect-error There is no such call.
    useCall("no.such.call");
    return null;
  }
  expectTypeOf(Component).toBeFunction();

  type Written = Extract<RoomView["entries"][number], { event: "chat.message" }>;
  expectTypeOf<Written["data"]>().toEqualTypeOf<ChatMessage>();
});
