import { mount } from "@vue/test-utils";
import { afterEach } from "vitest";
import { defineComponent, nextTick } from "vue";
import type { Component, Plugin } from "vue";

import { withClient } from "../composables/realtime.js";
import type { AppClient } from "../composables/realtime.js";
import { Client } from "../realtime/index.js";
import { credentials, ScriptedServer, URL_OF_SERVER } from "../realtime/testing.js";

const mounted: (() => void)[] = [];

afterEach(() => {
  for (const unmount of mounted.splice(0)) unmount();
});

/** A client whose server is scripted, and the plugin for its apps. */
export function scripted(as = credentials) {
  const server = new ScriptedServer();
  const client: AppClient = new Client(as, { url: URL_OF_SERVER });
  return { client, server, plugin: withClient(client) };
}

/** Mount a component in the document, in an app with this plugin. */
export function mountWith(plugin: Plugin, component: Component, props = {}) {
  const wrapper = mount(component, {
    props,
    attachTo: document.body,
    global: { plugins: [plugin] },
  });
  mounted.push(() => wrapper.unmount());
  return wrapper;
}

/** What a composable returns in a component of an app with this plugin. */
export function compose<T>(plugin: Plugin, composable: () => T) {
  const made: T[] = [];
  const wrapper = mountWith(
    plugin,
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
export function find(selector: string): HTMLElement {
  const element = document.querySelector<HTMLElement>(selector);
  if (element === null) throw new Error(`There is no ${selector}.`);
  return element;
}

/** The text of each element of a selector. */
export function textsOf(selector: string): string[] {
  return Array.from(document.querySelectorAll(selector), ({ textContent }) => textContent.trim());
}
