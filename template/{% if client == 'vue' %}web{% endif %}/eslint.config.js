import js from "@eslint/js";
import prettier from "eslint-config-prettier/flat";
import vue from "eslint-plugin-vue";
import accessibility from "eslint-plugin-vuejs-accessibility";
import { defineConfig, globalIgnores } from "eslint/config";
import ts from "typescript-eslint";

const CODE = ["**/*.{ts,vue}"];

export default defineConfig(
  // events.ts is made by a program.
  globalIgnores(["dist", "src/events.ts"]),
  js.configs.recommended,
  { files: CODE, extends: [ts.configs.strictTypeChecked, ts.configs.stylisticTypeChecked] },
  vue.configs["flat/recommended"],
  accessibility.configs["flat/recommended"],
  {
    files: CODE,
    languageOptions: {
      parserOptions: { parser: ts.parser, projectService: true, extraFileExtensions: [".vue"] },
    },
    rules: {
      // The type checker finds undefined names, and knows those of the browser.
      "no-undef": "off",
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "vue/no-v-html": "error",
      // A label may stand beside its field.
      "vuejs-accessibility/label-has-for": ["error", { required: { some: ["nesting", "id"] } }],
    },
  },
  prettier,
);
