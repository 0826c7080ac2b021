// For tools that read TypeScript only, as ESLint does. vue-tsc reads the components themselves.
declare module "*.vue" {
  import type { DefineComponent } from "vue";
  const component: DefineComponent;
  export default component;
}
