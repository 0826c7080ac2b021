export { default as PageEntrance } from "./AccountEntrance.vue";
export { mayGoOnAs } from "./owner.js";
