import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: join(import.meta.dirname, "../template/web/src"),
  test: { include: ["**/*.test.ts"] },
});
