/** Where `fastapi dev` runs. */
const SERVER = "http://127.0.0.1:8000";

/** How the paths begin that the application answers. Add those of your own routes. */
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
export default Object.fromEntries(PATHS.map((path) => [path, { target: SERVER, ws: true }]));
