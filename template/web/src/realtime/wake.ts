// How often to look at the clock (milliseconds). If more than `SLEPT` has passed between two
// looks, the computer has slept.
const LOOK = 2_000;
const SLEPT = 10_000;

export interface DeviceListeners {
  /**
   * The page may have been suspended: hidden, frozen, kept for the back button, without a
   * network, or on a computer that slept. It does not know whether its connection still works.
   */
  onWake: () => void;
  onOnline: () => void;
  onOffline: () => void;
  /** The browser may keep the page for the back button. */
  onHide: () => void;
}

/** Watch the device. Returns a function that stops this. Workers and Node.js have less to watch. */
export function watchDevice(listeners: DeviceListeners): () => void {
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
export function isOffline(): boolean {
  return "onLine" in navigator && !navigator.onLine;
}

function isHidden(): boolean {
  return typeof document !== "undefined" && document.hidden;
}
