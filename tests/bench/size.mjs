// What people download.

import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { binary, target } from '../lab/paths.mjs';
import { number } from './figures.mjs';

const megabytes = (file) => `${number(statSync(file).size / 1024 / 1024)} MiB`;

/** Returns rows `[what, figure]`; a package only when one was built. */
export function measureSize() {
  const rows = ['ahoy', 'ahoy-peer', 'ahoy-server'].map((name) =>
    [`size of the release binary ${name}`, megabytes(binary(name, 'release'))]);
  const bundles = path.join(target, 'release/bundle');
  for (const kind of existsSync(bundles) ? readdirSync(bundles) : []) {
    for (const file of readdirSync(path.join(bundles, kind))) {
      const whole = path.join(bundles, kind, file);
      if (statSync(whole).isFile()) rows.push([`size of the package ${file}`, megabytes(whole)]);
    }
  }
  return rows;
}
