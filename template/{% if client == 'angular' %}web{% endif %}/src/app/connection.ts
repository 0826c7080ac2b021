import { computed, effect, inject, Injectable, linkedSignal, signal } from "@angular/core";
import { connectionWords, countdown, SILENT, type ConnectionWords } from "../chat/words.js";
import type { ConnectionStatus } from "../realtime/index.js";
import { Realtime } from "./realtime.js";

/** What the page says about the connection. */
@Injectable({ providedIn: "root" })
export class Connection {
  readonly #realtime = inject(Realtime);
  readonly #now = signal(Date.now());
  readonly status = this.#realtime.connection;
  readonly words = linkedSignal<ConnectionStatus, ConnectionWords>({
    source: this.status,
    computation: (status, before) => connectionWords(status, before?.value ?? SILENT),
  });
  readonly countdown = computed(() =>
    countdown(this.status().retryAt, this.words().isTrying, this.#now()),
  );

  constructor() {
    effect((onCleanup) => {
      if (this.status().retryAt === null) return;
      this.#now.set(Date.now());
      const ticking = setInterval(() => this.#now.set(Date.now()), 1000);
      onCleanup(() => clearInterval(ticking));
    });
  }

  /** Try to connect now. */
  connect(): void {
    void this.#realtime.connect();
  }
}
