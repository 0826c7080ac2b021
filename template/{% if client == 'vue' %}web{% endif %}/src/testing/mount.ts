import { mount } from "@vue/test-utils";
import { afterEach } from "vitest";
import { defineComponent, nextTick } from "vue";
import type { Component } from "vue";

import { withClient } from "../composables/realtime.js";
import type { AppClient } from "../composables/realtime.js";
import { Client } from "../realtime/index.js";
import { credentials, ScriptedServer, URL_OF_SERVER } from "../realtime/testing.js";

const mounted: (() => void)[] = [];

afterEach(() => {
  for (const unmount of mounted.splice(0)) unmount();
});

/** A client whose server is scripted. `mayGoOnAs` is an option of the client. */
export function scripted(options = {}): { client: AppClient; server: ScriptedServer } {
  const server = new ScriptedServer();
  return { client: new Client(credentials, { url: URL_OF_SERVER, ...options }), server };
}

/** Mount a component in the document, in an app with this client. */
export function mountWith(client: AppClient, component: Component, props = {}) {
  const wrapper = mount(component, {
    props,
    attachTo: document.body,
    global: { plugins: [withClient(client)] },
  });
  mounted.push(() => wrapper.unmount());
  return wrapper;
}

/** What a composable returns in a component of an app with this client. */
export function compose<T>(client: AppClient, composable: () => T) {
  const made: T[] = [];
  const wrapper = mountWith(
    client,
    defineComponent(() => {
      made.push(composable());
      return () => null;
    }),
  );
  return { made: made[0] as T, unmount: () => wrapper.unmount() };
}

/** Let the client tell of its changes, and the components show them. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
  await nextTick();
}

/** The element of a selector. */
export function find<E extends HTMLElement = HTMLElement>(selector: string): E {
  const element = document.querySelector<E>(selector);
  if (element === null) throw new Error(`There is no ${selector}.`);
  return element;
}

/** The text of each element of a selector. */
export function textsOf(selector: string): string[] {
  return Array.from(document.querySelectorAll(selector), ({ textContent }) => textContent.trim());
}
