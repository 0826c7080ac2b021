// What the tests of hooks and components share.

import { act, cleanup } from "@testing-library/react";
import { StrictMode, type ReactNode } from "react";
import { afterEach, beforeEach, vi } from "vitest";

import type { Application } from "./events.js";
import { RealtimeProvider } from "./hooks/index.js";
import { Client } from "./realtime/index.js";
import { credentials, ScriptedServer, URL_OF_SERVER } from "./realtime/testing.js";

/** Call this in a file of tests: each has a page of its own, with what jsdom lacks. */
export function preparePage(): void {
  beforeEach(() => {
    vi.stubGlobal("matchMedia", () => Object.assign(new EventTarget(), { matches: true }));
    vi.stubGlobal("ResizeObserver", FakeResizeObserver);
    HTMLElement.prototype.hidePopover = vi.fn();
    sessionStorage.clear();
    history.replaceState(null, "", "/");
  });
  afterEach(() => {
    cleanup();
    vi.unstubAllGlobals();
  });
}

class FakeResizeObserver {
  observe(): void {
    // Nothing is resized.
  }

  disconnect(): void {
    // Nothing is resized.
  }
}

/** A server, and a client that may connect to it. `check` says whether the server knows the user. */
export function newClient({ check = () => Promise.resolve(true) } = {}) {
  const server = new ScriptedServer();
  const client = new Client<Application>({ ...credentials, check }, { url: URL_OF_SERVER });
  return { server, client };
}

/** What is around a component that uses this client: for `render` and `renderHook`. */
export function around(client: Client<Application>) {
  return function Wrapper({ children }: { children: ReactNode }) {
    return (
      <StrictMode>
        <RealtimeProvider client={client}>{children}</RealtimeProvider>
      </StrictMode>
    );
  };
}

/** Let something happen, and React show it. */
export async function happens(action: () => void): Promise<void> {
  await act(async () => {
    action();
    // The client tells its listeners in a microtask.
    await new Promise((resolve) => setTimeout(resolve, 0));
  });
}

/** The element with this id. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`There is no #${id}.`);
  return found;
}
