/** A server that is known from an invite link, not from the settings. */
export interface LinkServer {
  name: string;
  /** The link was kept from an earlier call; nobody has pasted it now. */
  kept: boolean;
}

/** Host and port of the server in an invite link, as in `ahoy://call.example.org:8443/4821#…`, also
 * in the middle of a message; `null` for a code. */
export function serverInLink(text: string): string | null {
  return /ahoy(?:\+ws)?:\/\/([^\s/#?]+)/i.exec(text)?.[1] ?? null;
}

/** Whether the app can take this as a server's address: `ws://` or `wss://`, a host, a port. */
export function isServerAddress(text: string): boolean {
  try {
    const url = new URL(text.trim());
    return (url.protocol === "ws:" || url.protocol === "wss:") && url.hostname !== "" && url.username === "" && url.hash === "";
  } catch {
    return false;
  }
}
