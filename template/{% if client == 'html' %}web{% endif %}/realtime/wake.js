// How often to look at the clock (milliseconds). If more than `SLEPT` has passed between two
// looks, the computer has slept.
const LOOK = 2_000;
const SLEPT = 10_000;
/** Watch the device. Returns a function that stops this. Workers and Node.js have less to watch. */
export function watchDevice(listeners) {
  const { onWake, onOnline, onOffline, onHide } = listeners;
  const stopped = new AbortController();
  const options = { signal: stopped.signal };
  if (typeof addEventListener === "function") {
    addEventListener("offline", onOffline, options);
    addEventListener("online", onOnline, options);
    addEventListener("online", onWake, options);
    addEventListener("pagehide", onHide, options);
    addEventListener("pageshow", onWake, options);
  }
  if (typeof document !== "undefined") {
    document.addEventListener("resume", onWake, options);
    const onVisible = () => {
      if (!document.hidden) onWake();
    };
    document.addEventListener("visibilitychange", onVisible, options);
  }
  let looked = Date.now();
  const looking = setInterval(() => {
    const slept = Date.now() - looked > SLEPT;
    looked = Date.now();
    // Browsers delay the timers of a hidden page. It wakes when it is shown again.
    if (slept && !isHidden()) onWake();
  }, LOOK);
  return () => {
    stopped.abort();
    clearInterval(looking);
  };
}

/** Whether the device says that it has no network. A server on the device may answer even so. */
export function isOffline() {
  return "onLine" in navigator && !navigator.onLine;
}

function isHidden() {
  return typeof document !== "undefined" && document.hidden;
}
