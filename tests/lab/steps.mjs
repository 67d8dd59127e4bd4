// A scenario in steps that build on each other: the first failure ends it and leaves behind what
// the screen showed and what the programs said.

import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { folder, screenshotFolder } from './paths.mjs';

/** Where the state of windows after a failed step is kept, until the next run. */
const kept = folder(screenshotFolder, 'failed');

/**
 * Returns `step(name, action)`, which runs one subtest of `t`. After a failed one the scenario ends,
 * since its other steps would only fail as well, later. `apps`: windows whose state is kept then.
 */
export function stepsOf(t, apps = []) {
  for (const file of readdirSync(kept)) {
    if (apps.some((app) => file.startsWith(`${app.name}-`))) rmSync(path.join(kept, file));
  }
  return async (name, action) => {
    let failed = false;
    await t.test(name, async (t) => {
      try {
        await action(t);
      } catch (error) {
        failed = true;
        for (const app of apps) await keepState(app, name, t);
        throw error;
      }
    });
    if (failed) throw new Error(`"${name}" failed; what follows builds on it`);
  };
}

/** Saves a window's picture, text and log. */
async function keepState(app, step, t) {
  const name = `${app.name}-${step.replace(/\W+/g, '-').slice(0, 60)}`;
  const parts = [];
  for (const [what, look] of [
    ['screenshot', () => app.screenshot(`failed/${name}`)],
    ['text', () => app.allText()],
    ['log', () => app.session.driver.describe()],
  ]) {
    try {
      parts.push(`--- ${what}\n${await look()}`);
    } catch (error) {
      parts.push(`--- ${what}: ${error.message}`);
    }
  }
  const file = path.join(kept, `${name}.txt`);
  writeFileSync(file, `${parts.join('\n')}\n`);
  t.diagnostic(`what ${app.name} showed and said: ${file}`);
}
