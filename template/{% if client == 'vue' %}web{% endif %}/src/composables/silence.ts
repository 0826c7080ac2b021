import { onScopeDispose, readonly, shallowRef } from "vue";

/** How long (milliseconds) a live region stays silent. */
const SILENCE = 500;

/** Whether a live region is silent, because a screen reader should not read out all of it. */
export function useSilence() {
  const isSilent = shallowRef(false);
  let timer: ReturnType<typeof setTimeout> | undefined;
  onScopeDispose(() => clearTimeout(timer));

  function silence() {
    isSilent.value = true;
    clearTimeout(timer);
    timer = setTimeout(() => {
      isSilent.value = false;
    }, SILENCE);
  }

  return { isSilent: readonly(isSilent), silence };
}
