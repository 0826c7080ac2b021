import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// Where `fastapi dev` runs.
const SERVER = "http://127.0.0.1:8000";

// What the server answers while you develop; Vite serves everything else. Add your own routes.
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

// The Host header stays that of the page (no `changeOrigin`): the server accepts sockets of pages
// whose origin has the same host, and refuses those of other pages here, too.
const proxy = Object.fromEntries(PATHS.map((path) => [path, { target: SERVER, ws: true }]));

export default defineConfig({
  plugins: [react()],
  base: "./",
  // An image that the code imports gets a name with a hash. Files of a public folder would not.
  publicDir: false,
  build: {
    // The server serves dist/index.html at / and dist/static at /static.
    assetsDir: "static",
    // Its security policy allows neither data: addresses nor inline scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy },
  test: {
    environment: "node",
    include: ["src/**/*.test.{ts,tsx}"],
    mockReset: true,
    restoreMocks: true,
  },
});
