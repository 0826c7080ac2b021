// How often to look at the clock (milliseconds). If more than `SLEPT` has passed between two
// looks, the computer has slept.
const LOOK = 2_000;
const SLEPT = 10_000;

/**
 * Call `action` whenever this page may have been suspended: hidden, frozen, kept for the
 * back button, without a network, or on a computer that slept. It does not know then
 * whether its connection still works.
 */
export function onWake(action) {
  addEventListener("online", action);
  addEventListener("pageshow", action);
  document.addEventListener("resume", action);
  document.addEventListener("visibilitychange", () => document.hidden || action());
  let looked = Date.now();
  setInterval(() => {
    const slept = Date.now() - looked > SLEPT;
    looked = Date.now();
    // Browsers delay the timers of a hidden page. It wakes when it is shown again.
    if (slept && !document.hidden) action();
  }, LOOK);
}
