// How figures are written.

/** `12.3`, or a dash for what is not known. */
export const number = (value, digits = 1) => (Number.isFinite(value) ? value.toFixed(digits) : '–');

/** `50/80 ms (n=200)`: median and 95th percentile of sorted values. */
export function spread(sorted) {
  if (sorted.length === 0) return '–';
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return `${number(at(0.5), 0)}/${number(at(0.95), 0)} ms (n=${sorted.length})`;
}
