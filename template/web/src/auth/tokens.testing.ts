// A store for tests, in the place of the browser's IndexedDB.

import { vi } from "vitest";

/** A database with one store. Only what tokens.ts needs of it is there. */
export function fakeDatabase(): Map<string, unknown> {
  const records = new Map<string, unknown>();
  const objectStore = () => ({
    get: (key: string) => ({ result: records.get(key) }),
    put: (value: unknown, key: string) => ({ result: records.set(key, structuredClone(value)) }),
    delete: (key: string) => ({ result: records.delete(key) }),
  });
  const transaction = () => answered("oncomplete", { objectStore });
  const result = { transaction, close: () => undefined };
  vi.stubGlobal("indexedDB", { open: () => answered("onsuccess", { result }) });
  return records;
}

/** An object of which one method is called when the code that asked for it has ended. */
function answered(method: string, fields: object): object {
  const request: Record<string, unknown> = { ...fields };
  queueMicrotask(() => {
    (request[method] as () => void)();
  });
  return request;
}
