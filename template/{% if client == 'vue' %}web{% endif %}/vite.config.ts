import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vitest/config";

/** Where `fastapi dev` runs. */
const SERVER = "http://127.0.0.1:8000";

/** What the application serves. All else is the page. */
const PATHS = ["/ws", "/auth", "/api", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"];

// Host and Origin stay those of the page (changeOrigin is false), so the application takes the
// page for its own, and still refuses those of others.
const toServer = { target: SERVER, changeOrigin: false, ws: true };

export default defineConfig({
  plugins: [vue()],
  // Relative, so that the page also works below a path.
  base: "./",
  server: { proxy: Object.fromEntries(PATHS.map((path) => [`^${path}(?=[/?]|$)`, toServer])) },
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
    restoreMocks: true,
  },
});
