/** The server inside an invite link: `ahoy://call.example.org:8443/4821#…` gives its host and port. */
export function serverName(link: string): string {
  return /^[a-z+]+:\/\/([^/#?]+)/i.exec(link.trim())?.[1] ?? link;
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
