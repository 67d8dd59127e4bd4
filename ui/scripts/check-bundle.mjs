// Looks at the production build: size of what is loaded, nothing of the fake backend, nothing that
// a content security policy without 'unsafe-inline' scripts or 'unsafe-eval' forbids.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

/** Design budget for all JavaScript, compressed. */
const BUDGET = 150 * 1024;
const folder = "dist";
const assets = readdirSync(join(folder, "assets"));
const scripts = assets.filter((name) => name.endsWith(".js"));
const problems = [];

let total = 0;
for (const name of scripts) {
  const text = readFileSync(join(folder, "assets", name));
  total += gzipSync(text, { level: 9 }).length;
  const source = text.toString();
  if (source.includes("ahoyFake")) problems.push(`${name} contains the fake backend`);
  if (/\bnew Function\(|[^.\w]eval\(/.test(source)) problems.push(`${name} evaluates text as code`);
}
if (scripts.length === 0) problems.push("there is no script");
if (total > BUDGET) problems.push(`JavaScript is ${kib(total)}, the budget is ${kib(BUDGET)}`);

const html = readFileSync(join(folder, "index.html"), "utf8");
if (/<script(?![^>]*\bsrc=)/.test(html)) problems.push("index.html has an inline script");
if (/https?:\/\//.test(html)) problems.push("index.html loads something from elsewhere");
const styles = assets.filter((name) => name.endsWith(".css")).map((name) => readFileSync(join(folder, "assets", name), "utf8")).join("\n");
if (/url\((?:["']?)(?:https?:|data:)/.test(styles)) problems.push("a style loads something from elsewhere");
if (!assets.some((name) => name.endsWith(".woff2"))) problems.push("the fonts are not bundled");

console.log(`bundle: JavaScript ${kib(total)} gzip of ${kib(BUDGET)}, styles ${kib(gzipSync(styles).length)} gzip, ${assets.filter((name) => name.endsWith(".woff2")).length} font files`);
if (problems.length > 0) {
  for (const problem of problems) console.error(`bundle: ${problem}`);
  process.exit(1);
}

function kib(bytes) {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
