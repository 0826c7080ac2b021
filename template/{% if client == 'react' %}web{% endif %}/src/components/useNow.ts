import { useEffect, useState } from "react";

/** The time (milliseconds). It is looked at every so many milliseconds, while it is needed. */
export function useNow(every: number, isNeeded = true): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!isNeeded) return undefined;
    const timer = setInterval(() => {
      setNow(Date.now());
    }, every);
    return () => {
      clearInterval(timer);
    };
  }, [every, isNeeded]);
  return now;
}
