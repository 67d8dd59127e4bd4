// Serves the built window the way the app does: same files, same content security policy.

import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import type { TestProject } from "vitest/node";

const ROOT = "dist-browsertest";
const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2" };

declare module "vitest" {
  interface ProvidedContext {
    address: string;
  }
}

/** The policy of the app's own configuration. */
function policy(): string {
  const config = JSON.parse(readFileSync("../src-tauri/tauri.conf.json", "utf8")) as { app: { security: { csp: Record<string, string> } } };
  return Object.entries(config.app.security.csp)
    .map(([directive, sources]) => `${directive} ${sources}`)
    .join("; ");
}

export default async function setup(project: TestProject): Promise<() => void> {
  if (!existsSync(join(ROOT, "index.html"))) throw new Error(`${ROOT} is missing: npm run test:browser builds it`);
  const csp = policy();
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const file = join(ROOT, normalize(path === "/" ? "/index.html" : path));
    readFile(file).then(
      (content) => {
        response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream", "content-security-policy": csp });
        response.end(content);
      },
      () => response.writeHead(path === "/favicon.ico" ? 204 : 404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  project.provide("address", `http://127.0.0.1:${address.port}`);
  return () => server.close();
}
