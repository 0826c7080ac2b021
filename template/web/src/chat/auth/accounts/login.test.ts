import { expect, test } from "vitest";

import { Refused } from "../../../auth/accounts/http.js";
import { ada, bob } from "../../testing.js";
import * as login from "./login.js";

class FakeStorage {
  #items = new Map<string, string>();

  get storage(): Storage {
    return this as unknown as Storage;
  }

  getItem(key: string): string | null {
    return this.#items.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    this.#items.set(key, value);
  }

  removeItem(key: string): void {
    this.#items.delete(key);
  }

  clear(): void {
    this.#items.clear();
  }
}

test("a session that was ended is told from one that expired", () => {
  expect(login.whyEnded("")).toBe("Your session has ended. Log in again.");
  expect(login.whyEnded("anything else")).toBe("Your session has ended. Log in again.");
  expect(login.whyEnded("the login has ended")).toContain("You have been logged out: in another");
});

test("what the server says is repeated, and silence is explained", () => {
  const refused = new Refused(401, "The user name or the password is wrong.");
  expect(login.problemOf(refused)).toBe("The user name or the password is wrong.");
  expect(login.problemOf(new TypeError("fetch failed"))).toContain("can't be reached");
  expect(login.logoutProblem(refused)).toMatch(/^Could not log out. The user name/);
});

test("the number of messages that would be lost is told", () => {
  expect(login.consequence(0)).toBe("The server has all of your messages now.");
  expect(login.consequence(1)).toContain("1 message. It would be lost.");
  expect(login.consequence(2)).toContain("2 messages. They would be lost.");
});

test("a page belongs to its first user", () => {
  const owner = new login.Owner();
  expect(owner.isFor(ada)).toBe(true);
  expect(owner.isFor(bob)).toBe(false);
  expect(owner.isFor({ ...ada, name: "Ada Lovelace" })).toBe(true);
  expect(owner.user).toBe(ada);
});

test("the page after a logout says so once, and knows nothing else", () => {
  const store = new FakeStorage();
  store.setItem("rooms", '["lobby"]');
  expect(login.goodbye(store.storage)).toBe("");
  login.sayGoodbye(store.storage);
  expect(store.getItem("rooms")).toBeNull();
  expect(login.goodbye(store.storage)).toBe("You have logged out.");
  expect(login.goodbye(store.storage)).toBe("");
});
