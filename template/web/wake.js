// How often the clock is looked at, and from how late a look on (milliseconds) the
// computer has slept meanwhile.
const LOOK = 2_000;
const SLEPT = 10_000;

/**
 * Call `action` whenever this page may have been away: hidden, frozen, kept for the back
 * button, without a network, or on a computer that slept. Nothing ran here meanwhile, and
 * nobody told the page what became of its connection.
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
    // The timers of a hidden page are late as a rule, and it wakes when it is shown.
    if (slept && !document.hidden) action();
  }, LOOK);
}
