import type { Type } from "@angular/core";
import { TestBed, type ComponentFixture } from "@angular/core/testing";
import { ada, FakeRoom as ChatRoom } from "../chat/testing.js";
import type { Application } from "../events.js";
import type { Client, ConnectionStatus, Entry, Member, Room } from "../realtime/index.js";
import { CLIENT } from "./realtime.js";

export { ada, bob, message, notice } from "../chat/testing.js";

/** A room in which a test says what happens. */
export class FakeRoom extends ChatRoom {
  entries: readonly Entry<Application>[] = [];
  memberCount = 2;
  isKnown = true;
  hasEarlier = false;
  isLoading = false;
  /** What was asked of it: "publish Hello", "retry KEY", "loadEarlier"… */
  calls: string[] = [];

  /** It has these entries now. */
  has(...entries: Entry<Application>[]): void {
    this.entries = entries;
    this.changes();
  }

  publish(event: string, { text }: { text: string }): string {
    this.calls.push(`${event} ${text}`);
    return "id";
  }

  notice(text: string): void {
    this.has(...this.entries, { kind: "notice", key: text, text });
  }

  retry(key: string): void {
    this.calls.push(`retry ${key}`);
  }

  discard(key: string): void {
    this.calls.push(`discard ${key}`);
  }

  loadEarlier(): Promise<void> {
    this.calls.push("loadEarlier");
    return Promise.resolve();
  }
}

/** A client with such rooms. */
export class FakeClient {
  status: ConnectionStatus = { state: "open", reason: "", retryAt: null };
  user: Member | null = ada;
  unsent = 0;
  rooms: ReadonlyMap<string, Room<Application>> = new Map();
  connects = 0;
  /** End the session, for a reason that the server gives. */
  expire: (reason: string) => void = () => undefined;
  readonly fakes = new Map<string, FakeRoom>();
  readonly #listeners = new Set<() => void>();

  /** The room that a test uses. */
  in(name: string): FakeRoom {
    const fake = this.fakes.get(name);
    if (fake === undefined) throw new Error(`Nobody has entered ${name}.`);
    return fake;
  }

  enter(name: string): Room<Application> {
    const known = this.rooms.get(name);
    if (known !== undefined) return known;
    const fake = new FakeRoom(name);
    this.fakes.set(name, fake);
    this.rooms = new Map([...this.rooms, [name, fake.room]]);
    this.changes();
    return fake.room;
  }

  leave(name: string): void {
    this.rooms = new Map([...this.rooms].filter(([left]) => left !== name));
    this.changes();
  }

  becomes(status: Partial<ConnectionStatus>): void {
    this.status = { ...this.status, ...status };
    this.changes();
  }

  changes(): void {
    for (const listener of this.#listeners) listener();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onExpired(listener: (reason: string) => void): () => void {
    this.expire = listener;
    return () => undefined;
  }

  connect(): Promise<void> {
    this.connects += 1;
    return Promise.resolve();
  }

  focus(): void {}
}

/** Let the application use a client of the test. The page begins anew. */
export function useFakeClient(): FakeClient {
  const client = new FakeClient();
  sessionStorage.clear();
  history.replaceState(null, "", "/");
  document.title = "Example";
  TestBed.configureTestingModule({
    providers: [{ provide: CLIENT, useValue: client as unknown as Client<Application> }],
  });
  return client;
}

/** A component on a page. `$` finds an element in it by a selector. */
export class Shown<T> {
  readonly fixture: ComponentFixture<T>;

  private constructor(fixture: ComponentFixture<T>) {
    this.fixture = fixture;
  }

  static async create<T>(component: Type<T>): Promise<Shown<T>> {
    const fixture = TestBed.createComponent(component);
    document.body.append(fixture.nativeElement);
    await fixture.whenStable();
    return new Shown(fixture);
  }

  /** Wait until the page shows the present state. */
  async update(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve));
    await this.fixture.whenStable();
  }

  $<E extends HTMLElement = HTMLElement>(selector: string): E {
    const found = document.querySelector<E>(selector);
    if (found === null) throw new Error(`There is no ${selector}.`);
    return found;
  }

  has(selector: string): boolean {
    return document.querySelector(selector) !== null;
  }

  /** The texts of the elements, without white space around them. */
  texts(selector: string): string[] {
    return Array.from(document.querySelectorAll(selector), (found) => found.textContent.trim());
  }

  async click(selector: string): Promise<void> {
    this.$(selector).click();
    await this.update();
  }

  /** Put a text into a field, as a user does. */
  async type(selector: string, text: string): Promise<void> {
    const field = this.$<HTMLInputElement>(selector);
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    await this.update();
  }

  /** Press a key in a field. Returns whether the browser does what it does with that key. */
  async press(selector: string, options: KeyboardEventInit): Promise<boolean> {
    const event = new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...options });
    const isDefault = this.$(selector).dispatchEvent(event);
    await this.update();
    return isDefault;
  }
}
