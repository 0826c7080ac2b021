import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig([
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  // It is made from the application's models.
  { ignores: ["template/web/src/events.ts"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
    },
  },
]);
