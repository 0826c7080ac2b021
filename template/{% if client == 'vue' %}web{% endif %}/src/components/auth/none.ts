import { defineComponent, onMounted } from "vue";

import { useClient } from "../../composables/realtime.js";

/** The server makes a new guest for every connection. The person is the same. */
export function mayGoOnAs(): boolean {
  return true;
}

/** Lets everybody in at once. */
export const PageEntrance = defineComponent({
  props: { modelValue: { type: Boolean, required: true } },
  emits: ["update:modelValue"],
  setup(_, { emit }) {
    const client = useClient();
    onMounted(() => {
      emit("update:modelValue", true);
      void client.connect();
    });
    return () => null;
  },
});
