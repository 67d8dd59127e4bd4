// What can be typed as a STUN or TURN server (RFC 7064, RFC 7065). The app checks it once more.

/** As many as the app takes. */
export const MAX_ICE_SERVERS = 8;

const URL = /^(stun|turns?):(\[[0-9a-f:]+\]|[^\s:/?#[\]]+)(:\d{1,5})?(\?transport=(udp|tcp))?$/i;

export function isIceUrl(text: string): boolean {
  return URL.test(text.trim());
}

/** Relays need a user name and a password. */
export function isTurnUrl(text: string): boolean {
  return /^turns?:/i.test(text.trim());
}
