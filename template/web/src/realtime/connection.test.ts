import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ADA, BOB, ScriptedServer, connecting, credentials, settle } from "./testing.js";
import { Client } from "./index.js";

let server: ScriptedServer;

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  server = new ScriptedServer();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

describe("the handshake", () => {
  it("carries what the credentials say", async () => {
    const stop = vi.fn();
    const whileOpen = vi.fn((send: (message: object) => void) => {
      send({ type: "refresh" });
      return stop;
    });
    const handshake = {
      protocols: ["key.1"],
      query: { key: "a&b" },
      firstFrame: { type: "auth", token: "t" },
      whileOpen,
    };
    await connecting({}, { ...credentials, handshake: () => Promise.resolve(handshake) });
    expect(server.socket.url).toBe("ws://server.test/ws?key=a%26b");
    expect(server.socket.protocols).toEqual(["realtime.v1", "key.1"]);
    server.socket.onopen?.();
    expect(server.frames()).toEqual([{ type: "auth", token: "t" }]);
    expect(whileOpen).not.toHaveBeenCalled();
    server.accept();
    expect(server.frames()).toContainEqual({ type: "refresh" });
    server.close(1012);
    expect(stop).toHaveBeenCalledOnce();
  });

  it("goes to the address beside the page, without another one", async () => {
    const page = { baseURI: "https://host.test/chat/#lobby", addEventListener: vi.fn() };
    vi.stubGlobal("document", page);
    const client = new Client(credentials);
    void client.connect();
    await settle();
    expect(server.socket.url).toBe("wss://host.test/chat/ws");
    client.close();
  });

  it("is given up after 10 seconds of silence", async () => {
    const client = await connecting();
    server.socket.onopen?.();
    vi.advanceTimersByTime(9_999);
    expect(client.status.state).toBe("connecting");
    await vi.advanceTimersByTimeAsync(1);
    expect(client.status).toMatchObject({ state: "waiting" });
    expect(server.socket.isClosed).toBe(true);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(server.connections).toBe(2);
  });

  it("that the server refuses says why, as far as that is known", async () => {
    const client = await connecting({}, { ...credentials, refused: "It may be full." });
    server.close(1006);
    await settle();
    expect(client.status).toMatchObject({ state: "waiting", reason: "It may be full." });
  });

  it("ends for good when the server refuses the page", async () => {
    const forbidden = Object.assign(new Error("Not this origin."), { status: 403 });
    const client = await connecting({}, { ...credentials, check: () => Promise.reject(forbidden) });
    server.close(1006);
    await settle();
    const reason = "The server refuses this page. Not this origin.";
    expect(client.status).toEqual({ state: "closed", reason, retryAt: null });
  });

  it("is tried again when the server can't be reached", async () => {
    const handshake = vi.fn().mockRejectedValueOnce(new TypeError("fetch failed"));
    handshake.mockResolvedValue({});
    const client = await connecting({}, { ...credentials, handshake });
    expect(client.status.reason).toBe("The server can't be reached.");
    await vi.advanceTimersByTimeAsync(500);
    server.accept();
    expect(client.status.state).toBe("open");
  });

  it("needs a user", async () => {
    const client = await connecting({}, { ...credentials, handshake: () => Promise.resolve(null) });
    expect(client.status.state).toBe("expired");
    expect(server.connections).toBe(0);
  });

  it("is undone if the page is for another user", async () => {
    const client = await connecting({ mayGoOnAs: (user) => user.id === BOB.id });
    client.enter("lobby");
    server.accept(ADA);
    expect(client.status.state).toBe("closed");
    expect(client.user).toBeNull();
    expect(server.socket.isClosed).toBe(true);
    expect(server.frames()).toEqual([]);
  });

  it("of a client that was closed meanwhile is ignored", async () => {
    const client = new Client(credentials, { url: "ws://server.test/ws" });
    void client.connect();
    client.close();
    await settle();
    expect(server.connections).toBe(0);
    expect(client.status.state).toBe("idle");
  });
});

describe("a close code", () => {
  it.each([1001, 1005, 1006, 1009, 1011, 1012, 1013, 4000, 4399])("%i is retried", async (code) => {
    const client = await connecting();
    server.accept();
    server.close(code);
    expect(client.status).toMatchObject({ state: "waiting", retryAt: Date.now() + 500 });
    expect(client.status.reason).toMatch(/\.$/);
    await vi.advanceTimersByTimeAsync(500);
    expect(server.connections).toBe(2);
  });

  it.each([1000, 1002, 1003, 1007, 1008, 3000, 4403, 4400, 4499])("%i is final", async (code) => {
    const client = await connecting();
    server.accept();
    server.close(code);
    expect(client.status.state).toBe("closed");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.connections).toBe(1);
    void client.connect();
    await settle();
    expect(server.connections).toBe(2);
  });

  it("4401 is retried once, with fresh credentials", async () => {
    const expired = vi.fn();
    const client = await connecting();
    client.onExpired(expired);
    server.accept();
    server.close(4401, "expired");
    await vi.advanceTimersByTimeAsync(500);
    server.close(4401, "the session was ended");
    await settle();
    expect(client.status.state).toBe("expired");
    expect(expired).toHaveBeenCalledExactlyOnceWith("the session was ended");
    expect(server.connections).toBe(2);
  });

  it("4401 is final if nobody is known", async () => {
    const client = await connecting({}, { ...credentials, check: () => Promise.resolve(false) });
    server.accept();
    server.close(4401);
    await settle();
    expect(client.status.state).toBe("expired");
  });
});

describe("the backoff", () => {
  it("doubles up to 30 seconds, with full jitter", async () => {
    const client = await connecting();
    const delays = [];
    for (let attempt = 0; attempt < 8; attempt += 1) {
      server.close(1012);
      delays.push((client.status.retryAt ?? 0) - Date.now());
      await vi.advanceTimersByTimeAsync(delays.at(-1) ?? 0);
    }
    expect(delays).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
  });

  it("begins anew after a connection of 10 seconds", async () => {
    const client = await connecting();
    const delays = [];
    for (const lasted of [0, 9_000, 11_000]) {
      server.accept();
      await vi.advanceTimersByTimeAsync(lasted);
      server.close(1012);
      delays.push((client.status.retryAt ?? 0) - Date.now());
      await vi.advanceTimersByTimeAsync(delays.at(-1) ?? 0);
    }
    expect(delays).toEqual([500, 1_000, 500]);
  });

  it("ends when somebody asks for it", async () => {
    const client = await connecting();
    server.close(1012);
    void client.connect();
    await settle();
    expect(server.connections).toBe(2);
    expect(client.status.state).toBe("connecting");
  });
});

describe("the heartbeat", () => {
  it("pings a silent server, and gives it up without an answer", async () => {
    const client = await connecting();
    server.accept(ADA, 20);
    vi.advanceTimersByTime(19_999);
    expect(server.frames()).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(server.frames()).toEqual([{ type: "ping" }]);
    vi.advanceTimersByTime(19_999);
    expect(client.status.state).toBe("open");
    vi.advanceTimersByTime(1);
    expect(client.status.state).toBe("waiting");
  });

  it("goes on while the server answers", async () => {
    const client = await connecting();
    server.accept(ADA, 20);
    for (let round = 0; round < 5; round += 1) {
      vi.advanceTimersByTime(20_000);
      expect(server.frames()).toEqual([{ type: "ping" }]);
      server.says({ type: "pong" });
    }
    expect(client.status.state).toBe("open");
  });

  it("is not needed if the server says 0", async () => {
    await connecting();
    server.accept(ADA, 0);
    vi.advanceTimersByTime(3_600_000);
    expect(server.frames()).toEqual([]);
  });
});

describe("the device", () => {
  it("that sleeps and wakes checks the connection", async () => {
    const client = await connecting();
    server.accept(ADA, 0);
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(2_000);
    expect(server.frames()).toEqual([{ type: "ping" }]);
    vi.advanceTimersByTime(5_000);
    expect(client.status.state).toBe("waiting");
  });

  it("that goes offline loses the connection, and reconnects when it is online", async () => {
    const listeners = new Map<string, (() => void)[]>();
    vi.stubGlobal("addEventListener", (name: string, listener: () => void) => {
      listeners.set(name, [...(listeners.get(name) ?? []), listener]);
    });
    const client = await connecting();
    server.accept();
    listeners.get("offline")?.forEach((listener) => {
      listener();
    });
    expect(client.status).toMatchObject({ state: "waiting", reason: "This device is offline." });
    listeners.get("online")?.forEach((listener) => {
      listener();
    });
    await settle();
    expect(server.connections).toBe(2);
  });
});

describe("the client", () => {
  it("that is closed leaves nothing behind", async () => {
    const client = await connecting();
    client.enter("lobby");
    server.accept();
    client.close();
    expect(client.status.state).toBe("idle");
    expect(server.socket.isClosed).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
    void client.connect();
    await settle();
    server.accept();
    expect(client.status.state).toBe("open");
  });

  it("ignores frames that are not messages", async () => {
    const client = await connecting();
    server.says({ type: "pong" });
    server.accept();
    for (const frame of ["", "{", "null", "[]", '"text"', "{}", '{"type":"news"}', new Blob()]) {
      server.saysFrame(frame);
    }
    expect(client.status.state).toBe("open");
  });

  it("tells its listeners once about all changes of a moment", async () => {
    const client = await connecting();
    const listener = vi.fn();
    const stop = client.subscribe(listener);
    const { version } = client;
    server.accept();
    client.enter("one");
    client.enter("two");
    expect(client.version).toBeGreaterThan(version);
    expect(listener).not.toHaveBeenCalled();
    await settle();
    expect(listener).toHaveBeenCalledOnce();
    stop();
    client.enter("three");
    await settle();
    expect(listener).toHaveBeenCalledOnce();
  });
});
