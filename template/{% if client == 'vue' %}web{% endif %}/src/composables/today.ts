import { onScopeDispose, readonly, shallowRef } from "vue";

/** How often (milliseconds) to see whether another day has begun. */
const EVERY = 30_000;

/** A time of the present day. It changes when another day begins. */
export function useToday() {
  const today = shallowRef(new Date());
  const timer = setInterval(() => {
    const now = new Date();
    if (now.toDateString() !== today.value.toDateString()) today.value = now;
  }, EVERY);
  onScopeDispose(() => clearInterval(timer));
  return readonly(today);
}
