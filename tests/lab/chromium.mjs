// Debian's Chromium, headless, showing one page that reports over a WebSocket of ours.

import path from 'node:path';
import { fileURLToPath } from 'node:url';

const launcher = 'chromium';

/** Folder with the pages that Chromium shows. */
export const pages = path.join(path.dirname(fileURLToPath(import.meta.url)), 'pages');

/**
 * Opens `url`. `camera`: a y4m file that Chromium plays as its camera. `fakeDevices`: without, the
 * real devices that the sound server of `env` has. Stopped with the lab.
 */
export function openChromium(lab, url, { camera, name = 'chromium', env = {}, fakeDevices = true } = {}) {
  const profile = lab.file(`${name}-profile`);
  return lab.start(launcher, [
    '--headless=new',
    '--no-sandbox', // tests run as root in containers
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--disable-background-timer-throttling',
    '--disable-backgrounding-occluded-windows',
    '--disable-renderer-backgrounding',
    '--autoplay-policy=no-user-gesture-required',
    '--use-fake-ui-for-media-stream',
    ...(fakeDevices ? ['--use-fake-device-for-media-stream'] : []),
    ...(camera ? [`--use-file-for-fake-video-capture=${camera}`] : []),
    // Host candidates as plain addresses: an mDNS name would need a responder on the other side.
    '--disable-features=WebRtcHideLocalIpsWithMdns,Translate,MediaRouter,OptimizationHints',
    '--allow-loopback-in-peer-connection',
    `--user-data-dir=${profile}`,
    '--window-size=1400,900',
    url,
  ], { label: name, env: { ...env, DBUS_SESSION_BUS_ADDRESS: 'disabled:', HOME: lab.folder, TMPDIR: lab.folder } });
}
