import { join } from "node:path";
import { defineConfig } from "vitest/config";

// The TypeScript of the template has no folder of packages above it.

export default defineConfig({
  root: join(import.meta.dirname, "../template/web/src"),
  test: { include: ["**/*.test.ts"] },
});
