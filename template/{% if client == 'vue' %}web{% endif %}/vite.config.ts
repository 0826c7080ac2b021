import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vitest/config";

/** Where `fastapi dev` runs. */
const SERVER = "http://127.0.0.1:8000";

/** How the paths begin that the application answers; Vite serves all others. Add your own. */
const PATHS = [
  "/ws",
  "/auth",
  "/api",
  "/healthz",
  "/readyz",
  "/docs",
  "/openapi.json",
  "/asyncapi",
];

// The Host header stays that of the page (no changeOrigin). So the application takes the page
// for one of its own, and still refuses the sockets of other pages.
const proxy = Object.fromEntries(PATHS.map((path) => [path, { target: SERVER, ws: true }]));

export default defineConfig({
  plugins: [vue()],
  // Relative, so that the page works below a path, too.
  base: "./",
  server: { proxy },
  build: {
    // The application serves dist/static at /static.
    assetsDir: "static",
    // The Content-Security-Policy allows no data: addresses.
    assetsInlineLimit: 0,
  },
  test: {
    environment: "jsdom",
    include: ["src/**/*.test.ts"],
    setupFiles: ["src/testing/setup.ts"],
    mockReset: true,
    restoreMocks: true,
  },
});
