const BASE = 1_000;
const CAP = 30_000;

/**
 * How many milliseconds to wait after so many failures in a row.
 * Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function backoff(failures: number): number {
  return Math.random() * Math.min(CAP, BASE * 2 ** failures);
}
