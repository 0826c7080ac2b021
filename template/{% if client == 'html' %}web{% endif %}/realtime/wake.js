// How often to look at the clock (milliseconds). If more than `SLEPT` has passed between two
// looks, the computer has slept.
const LOOK = 2_000;
const SLEPT = 10_000;
/** Watch the device. Returns a function that stops this. Workers and Node.js have less to watch. */
export function watchDevice({ wake, ...others }) {
  const stopped = new AbortController();
  const { signal } = stopped;
  const wakeIfVisible = () => {
    if (!isHidden()) wake();
  };
  if (typeof addEventListener === "function") {
    for (const [name, listener] of Object.entries({ ...others, pageshow: wake })) {
      addEventListener(name, listener, { signal });
    }
  }
  if (typeof document !== "undefined") {
    document.addEventListener("resume", wake, { signal });
    document.addEventListener("visibilitychange", wakeIfVisible, { signal });
  }
  let looked = Date.now();
  const looking = setInterval(() => {
    const slept = Date.now() - looked > SLEPT;
    looked = Date.now();
    // Browsers delay the timers of a hidden page. It wakes when it is shown again.
    if (slept) wakeIfVisible();
  }, LOOK);
  return () => {
    stopped.abort();
    clearInterval(looking);
  };
}

/** Whether the device says that it has no network. A server on the device may answer even so. */
export function isOffline() {
  // Node.js 20 has no navigator.
  return typeof navigator !== "undefined" && "onLine" in navigator && !navigator.onLine;
}

function isHidden() {
  return typeof document !== "undefined" && document.hidden;
}
