import angular from "angular-eslint";
import { defineConfig } from "eslint/config";
import typescript from "typescript-eslint";

export default defineConfig(
  { ignores: ["dist/", ".angular/"] },
  {
    files: ["**/*.ts"],
    extends: [typescript.configs.strict, angular.configs.tsRecommended],
    processor: angular.processInlineTemplates,
    rules: {
      "@typescript-eslint/no-extraneous-class": ["error", { allowWithDecorator: true }],
      "@angular-eslint/prefer-on-push-component-change-detection": "error",
      "@angular-eslint/component-selector": [
        "error",
        { type: ["element", "attribute"], prefix: "app", style: "kebab-case" },
      ],
    },
  },
  {
    files: ["**/*.html"],
    extends: [angular.configs.templateRecommended, angular.configs.templateAccessibility],
    rules: { "@angular-eslint/template/no-inline-styles": "error" },
  },
);
